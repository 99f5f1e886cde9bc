"""Alerts: what is wrong, told once, by Slack, mail, Telegram, a webhook or whatever else apprise speaks.

What is open lies in `<lake>/monitoring/alerts.json`. An alert is told when it is new, when it has become more severe, and again
when its cooldown has passed and it is still there; when it is gone that is told once. Nothing is told twice because a job ran
twice, or because the process was another.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from crypto_assets.lake import Lake
from crypto_assets.lake.store import write_bytes
from crypto_assets.market.errors import LakeError, SettingsError
from crypto_assets.market.time import DAY, HOUR

FILE = "monitoring/alerts.json"
SEVERITIES = ("info", "warning", "critical")
COOLDOWN: dict[str, timedelta] = {"info": 7 * DAY, "warning": DAY, "critical": 6 * HOUR}
"""How long an alert that stays is not repeated."""
EVENT = "event: "
"""Keys of what happened once: it is not over when it does not happen again, it is forgotten after its cooldown."""
_KINDS = {"info": "info", "warning": "warning", "critical": "failure"}
"""Severity -> apprise's type of a message, which decides colour and icon."""


@dataclass(frozen=True)
class Alert:
    """`key` says what it is about and stays the same while it lasts."""

    key: str
    severity: str
    title: str
    body: str

    def __post_init__(self) -> None:
        if self.severity not in SEVERITIES:
            raise SettingsError(f"alert {self.key}: severity {self.severity!r}, expected one of {', '.join(SEVERITIES)}")


@dataclass(frozen=True)
class Told:
    """What a round told: new, worse or repeated alerts, and keys that are over."""

    sent: tuple[Alert, ...]
    over: tuple[str, ...]
    failed: bool = False
    """Some address did not take it; it is told again the next time."""


class Desk:
    """Tells alerts to `urls` (apprise addresses); without any it only keeps what is open."""

    def __init__(self, lake: Lake, urls: SecretStr | str | None) -> None:
        self.path: Path = lake.root / FILE
        given = urls.get_secret_value() if isinstance(urls, SecretStr) else urls or ""
        self.urls = [u for u in given.replace(",", " ").split() if u]

    def tell(self, alerts: Iterable[Alert], now: datetime) -> Told:
        """Tell what is due of all alerts that hold at `now`; an open one that is not among them is over.

        Raises SettingsError for an address apprise does not know, without naming what is secret in it.
        """
        open_ = self.open()
        holding = {a.key: a for a in alerts}
        due = [a for a in holding.values() if _is_due(open_.get(a.key), a, now)]
        over = [key for key in open_ if key not in holding and not key.startswith(EVENT)]
        ended = [Alert(key, "info", f"over: {open_[key]['title']}", f"it began at {open_[key]['since']}") for key in over]
        failed = not self._send([*due, *ended])
        if not failed:
            kept = {key: row for key, row in open_.items() if key in holding or (key.startswith(EVENT) and _is_new(row, now))}
            self._write(kept | {a.key: _told(open_.get(a.key), a, now) for a in due})
        return Told(tuple(due), tuple(over), failed)

    def note(self, what: str, severity: str, title: str, body: str, now: datetime) -> bool:
        """Tell of something that happened, such as a failed run; not again within its cooldown. Whether it was told."""
        alert, open_ = Alert(f"{EVENT}{what}", severity, title, body), self.open()
        if not _is_due(open_.get(alert.key), alert, now) or not self._send([alert]):
            return False
        self._write(open_ | {alert.key: _told(open_.get(alert.key), alert, now)})
        return True

    def open(self) -> dict[str, dict[str, Any]]:
        """Key -> severity, title, since, told. Raises LakeError for a damaged file."""
        if not self.path.exists():
            return {}
        try:
            return json.loads(self.path.read_text())
        except ValueError as error:
            raise LakeError(f"{self.path} is not JSON ({error}): delete it, and what is open is told again") from error

    def _write(self, kept: dict[str, dict[str, Any]]) -> None:
        write_bytes(self.path, json.dumps(kept, indent=1, sort_keys=True).encode())

    def _send(self, alerts: Sequence[Alert]) -> bool:
        if not self.urls or not alerts:
            return True
        from apprise import Apprise

        desk = Apprise()
        for place, url in enumerate(self.urls, 1):
            if not desk.add(url):
                scheme = url.partition("://")[0] if "://" in url else "no scheme"
                raise SettingsError(
                    f"CRYPTO_ASSETS_ALERT_URLS: address {place} ({scheme}) is none that apprise knows: see its list, such as "
                    f"slack://, mailto://, tgram://, json://"
                )
        return all(desk.notify(title=f"[{a.severity}] {a.title}", body=a.body, notify_type=_KINDS[a.severity]) for a in alerts)


def _told(known: dict[str, Any] | None, alert: Alert, now: datetime) -> dict[str, Any]:
    since = now.isoformat() if known is None else known["since"]
    return {"severity": alert.severity, "title": alert.title, "since": since, "told": now.isoformat()}


def _is_new(row: dict[str, Any], now: datetime) -> bool:
    return now - datetime.fromisoformat(row["told"]) < COOLDOWN[row["severity"]]


def _is_due(known: dict[str, Any] | None, alert: Alert, now: datetime) -> bool:
    if known is None:
        return True
    worse = SEVERITIES.index(alert.severity) > SEVERITIES.index(known["severity"])
    return worse or not _is_new(known | {"severity": alert.severity}, now)
