"""One family of exceptions. Each message says what was expected, what was found and what to do."""

from __future__ import annotations


class CryptoAssetsError(Exception):
    """Base of every error this project raises on purpose."""


class SettingsError(CryptoAssetsError):
    """A setting, an option or a combination of them is not allowed."""


class LakeError(CryptoAssetsError):
    """The data lake cannot be read or written as asked."""


class SchemaError(CryptoAssetsError):
    """A frame does not have the shape its table promises."""


class ImportRefusedError(CryptoAssetsError):
    """A file given to `import` cannot be mapped onto the table."""


class StaleDataError(CryptoAssetsError):
    """Data is older than the use that is made of it allows."""


class CheckpointError(CryptoAssetsError):
    """A checkpoint cannot be used with this panel or this code."""


class AuditError(CryptoAssetsError):
    """A family cannot be audited: its own code fails on rows it must be able to read."""


class SourceError(CryptoAssetsError):
    """A provider answered with something other than what its documentation promises.

    Attributes: `provider`, `retry_after` (seconds) where the provider named one, `status` of an HTTP answer.
    """

    status: int | None = None

    def __init__(self, provider: str, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{provider}: {message}")
        self.provider = provider
        self.retry_after = retry_after


class RateLimitedError(SourceError):
    """HTTP 429, 418 or the provider's own way of saying it."""


class AuthFailedError(SourceError):
    """The key is missing or refused."""


class PlanRestrictedError(SourceError):
    """The key works, but this data is not in its plan."""


class GeoBlockedError(SourceError):
    """The provider does not serve this place (HTTP 451 and its kin)."""


class NotPublishedYetError(SourceError):
    """The provider has nothing for this window yet."""


class UnavailableError(SourceError):
    """No answer, or HTTP 5xx, however often it was asked."""


class BadPayloadError(SourceError):
    """HTML where JSON was due, truncated JSON, a missing field, a wrong type."""
