"""Faults on purpose: `PROVIDER:KIND[=VALUE] WHEN`, for example `binance_spot:429 every 5` or `binance:disconnect every 30s`.

PROVIDER is a provider's key, the beginning of several keys (`binance` is `binance_spot`, `binance_futures`, ...), or `*`.

    kind           value              an answer by HTTP                       a WebSocket
    429            Retry-After, 1 s   is refused                              the connection is refused
    500            status, 500        is an error                             the connection is refused
    latency        seconds, 0.5       comes late                              a message comes late
    disconnect     -                  ends in the middle, socket closed       is closed
    truncated      -                  is half of it, with a length that fits  a message is half of it
    empty, html    -                  says nothing; is a page                 so is a message
    wrong_type     -                  a number is text, or the reverse        in a message
    duplicated     -                  every row twice                         a message twice
    out_of_order   -                  rows shuffled                           a message after its follower
    schema_drift   -                  a key has another name                  in a message
    clock_skew     seconds, 30        the provider's clock is ahead by this   for the whole connection

WHEN is `always`, `every N`, `first N`, `after N`, `chance P`, counting a provider's requests (429, 500 and clock_skew of
WebSockets: its connections; the others: the messages of a connection), or `every 30s`, `first 30s`, `after 30s`, by the real
seconds since the server started: `every 30s` strikes the first request or message after each multiple of 30 s, and
`disconnect every 30s` closes every socket then. Chance is drawn from the seed and the count, so the same calls meet the same
faults. Of several faults that are due, delay and skew add up; of the others the first rule counts.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from crypto_assets.market.errors import SettingsError

KINDS: dict[str, float] = {
    **{"429": 1.0, "500": 500.0, "latency": 0.5, "disconnect": 0.0, "truncated": 0.0, "empty": 0.0, "html": 0.0},
    **{"wrong_type": 0.0, "duplicated": 0.0, "out_of_order": 0.0, "schema_drift": 0.0, "clock_skew": 30.0},
}
"""Kind -> default value."""
WHENS = ("always", "every", "first", "after", "chance")
TIMED = ("every", "first", "after")
ANY = "*"
"""A rule for every provider."""


@dataclass(frozen=True)
class Fault:
    """One rule. `number` is N or P of `when`, seconds if `is_time`; `providers` are the keys it stands for, all if empty."""

    provider: str
    kind: str
    value: float
    when: str
    number: float
    is_time: bool = False
    providers: tuple[str, ...] = ()

    def concerns(self, provider: str) -> bool:
        """Whether the rule is about this provider."""
        return self.provider == ANY or provider in (self.providers or (self.provider,))

    def strikes(self, count: int, seed: int) -> bool:
        """Whether the `count`-th request, from 1, meets this fault (rules that count)."""
        if self.when == "always":
            return True
        if self.when == "chance":
            return random.Random(f"{seed}:{self.provider}:{self.kind}:{count}").random() < self.number
        n = int(self.number)
        return {"every": count % n == 0, "first": count <= n, "after": count > n}[self.when]

    def strikes_at(self, age_s: float, last_s: float) -> bool:
        """Whether a request at `age_s` meets this fault, the one before having come at `last_s` (rules of time)."""
        if self.when == "every":
            return age_s // self.number > last_s // self.number
        return age_s < self.number if self.when == "first" else age_s >= self.number

    def next_s(self, age_s: float) -> float:
        """Seconds from `age_s` until this rule of time strikes by itself; infinite if it does no more."""
        if self.when == "every":
            return self.number - age_s % self.number
        if self.when == "first":
            return 0.0 if age_s < self.number else math.inf
        return max(self.number - age_s, 0.0)


def parse(rule: str, providers: Sequence[str]) -> Fault:
    """A rule from its text. Raises SettingsError saying which part is wrong and what is allowed."""
    what, _, when = rule.strip().partition(" ")
    provider, colon, kind = what.partition(":")
    name, equals, value = kind.partition("=")
    if not colon or not when.strip():
        raise _wrong(rule, "it has not the form PROVIDER:KIND[=VALUE] WHEN")
    meant = tuple(key for key in providers if key.startswith(provider)) if provider and provider not in providers else ()
    if provider not in (ANY, *providers) and not meant:
        raise _wrong(rule, f"provider {provider!r} is none of {', '.join(providers)}, the beginning of none, and not {ANY}")
    if name not in KINDS:
        raise _wrong(rule, f"kind {name!r} is none of {', '.join(KINDS)}")
    amount = _number(rule, "value", value) if equals else KINDS[name]
    if name == "500" and not 500 <= amount <= 599:
        raise _wrong(rule, f"value {value!r} must be a status from 500 to 599")
    if not math.isfinite(amount) or (amount < 0 and name != "clock_skew"):
        raise _wrong(rule, f"value {value!r} must be seconds, 0 or more")
    return Fault(provider, name, amount, *_when(rule, when.split()), meant)


def _when(rule: str, words: list[str]) -> tuple[str, float, bool]:
    if words == ["always"]:
        return "always", 1.0, False
    if len(words) != 2 or words[0] not in WHENS:
        raise _wrong(rule, f"when {' '.join(words)!r} is none of always, every N, first N, after N, chance P, every 30s, ...")
    is_time = words[0] in TIMED and words[1].endswith("s")
    number = _number(rule, "number", words[1].removesuffix("s") if is_time else words[1])
    if is_time and not 0 < number < math.inf:
        raise _wrong(rule, f"number {words[1]!r} must be seconds above 0")
    if words[0] == "chance" and not 0 <= number <= 1:
        raise _wrong(rule, f"chance {words[1]!r} must lie between 0 and 1")
    if words[0] != "chance" and not is_time and (number < 1 or number != int(number)):
        raise _wrong(rule, f"number {words[1]!r} must be a whole number, 1 or more")
    return words[0], number, is_time


def _number(rule: str, what: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise _wrong(rule, f"{what} {text!r} is no number") from None


def _wrong(rule: str, why: str) -> SettingsError:
    return SettingsError(f"--fault {rule!r}: {why}; for example --fault 'binance_spot:429 every 5'")
