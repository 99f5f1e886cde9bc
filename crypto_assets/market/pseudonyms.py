"""People in texts: authors become pseudonyms, and names that a text mentions are taken out of it."""

from __future__ import annotations

import hashlib
import re

_SALT = "crypto_assets authors"
_NOBODY = ("", "[deleted]", "[removed]", "AutoModerator")
_MENTION = re.compile(r"(?<![\w/@])(?:@\w{2,}|/?u/[\w-]{2,})")


def pseudonym(provider: str, name: str | None) -> str | None:
    """Sixteen hexadecimal digits that are the same for the same author of a provider; None where there is no person.

    Salted SHA-256: it tells authors apart without storing their names. Who has a list of names can still test it against them.
    """
    if name is None or name in _NOBODY:
        return None
    return hashlib.sha256(f"{_SALT}\n{provider}\n{name}".encode()).hexdigest()[:16]


def without_names(text: str) -> str:
    """The text with `@name` and `u/name` replaced by `@someone`, in one line."""
    return " ".join(_MENTION.sub("@someone", text).split())
