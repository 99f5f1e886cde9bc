"""One frozen Settings, read from `CRYPTO_ASSETS_*` environment variables, overridden by the command line.

Errors name the variable, the value and what is allowed. Secrets are `SecretStr`: they print as stars and enter no table, no
metadata and no log.
"""

from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from crypto_assets.market.coins import DEFAULT_SYMBOLS, Universe
from crypto_assets.market.errors import SettingsError

PREFIX = "CRYPTO_ASSETS_"
MARKETS = ("standard", "realistic", "regime", "leadlag", "null")
DEMO_DAYS = 116
"""60 days of history, then four folds of two weeks."""
EARLIEST = date(2017, 8, 17)
"""First day any venue here has candles for."""
SANDBOX_START = date(2023, 1, 1)
"""First day of the simulated market."""


class Settings(BaseSettings):
    """Everything that may differ between two runs of the same code."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    world: Literal["sandbox", "archive", "live"] = "sandbox"
    lake: Path = Path("data_lake")
    symbols: tuple[str, ...] | str = DEFAULT_SYMBOLS
    start: date | None = None
    """First daily partition; by default `DEMO_DAYS` before today."""
    end: date | None = None
    """Last daily partition the demo or a build asks for; by default yesterday."""
    fold: Literal["2w", "month"] | None = None
    """Length of a walk-forward fold; by default two weeks in the sandbox, a month elsewhere."""
    warmup_days: int = Field(default=60, ge=14)
    """Days of history before the first fold."""
    preset: Literal["debug", "small", "full"] = "small"
    market: Literal["standard", "realistic", "regime", "leadlag", "null"] = "standard"
    seed: int = Field(default=7, ge=0)
    sandbox_url: str = "http://127.0.0.1:8765"
    mlflow_uri: str | None = None
    """Tracking store; by default a SQLite file inside the lake (`.mlflow`)."""
    contact: str = "crypto_assets (https://example.invalid/contact)"
    """User-Agent: some providers require a way to reach you."""
    redis_url: SecretStr | None = None
    """Redis for the hot store, for example redis://127.0.0.1:6379/0; an embedded store inside the lake when unset. Plain
    `REDIS_URL` is taken too."""
    alert_urls: SecretStr | None = None
    """Where alerts go: apprise addresses separated by commas (slack://..., mailto://..., tgram://..., json://host/path)."""
    strategies: str = ""
    """Files of trading strategies of your own, separated by commas; each defines STRATEGY (`trading/strategies.py`)."""
    text_scorer: str = "vader"
    """Who reads texts: `vader` (offline), `transformers` (extra `[nlp]`), or `package.module:OBJECT`, a Scorer of your own."""
    allow_model_download: bool = False
    """Whether `transformers` may fetch its two models from Hugging Face when they are not in the local cache."""
    # Keys of providers; every one is optional, a source without its key stays empty and says so.
    coinmetrics_key: SecretStr | None = None
    coingecko_key: SecretStr | None = None
    coindesk_key: SecretStr | None = None
    etherscan_key: SecretStr | None = None
    santiment_key: SecretStr | None = None
    glassnode_key: SecretStr | None = None
    sentora_key: SecretStr | None = None
    bgeometrics_key: SecretStr | None = None
    reddit_client_id: SecretStr | None = None
    reddit_client_secret: SecretStr | None = None
    x_bearer_token: SecretStr | None = None
    newsapi_key: SecretStr | None = None
    cryptopanic_key: SecretStr | None = None
    eia_key: SecretStr | None = None
    fred_key: SecretStr | None = None
    github_token: SecretStr | None = None
    # Providers whose terms bar automated use or storing: nothing of them is asked in world live before this is said.
    accept_fred_terms: bool = False
    """Whether you may store FRED's data and use it for machine learning, which its terms prohibit without permission."""
    accept_yahoo_terms: bool = False
    """Whether you may ask Yahoo Finance automatically, which its terms bar."""

    @field_validator("symbols", mode="after")
    @classmethod
    def _known(cls, value: tuple[str, ...] | str) -> tuple[str, ...]:
        parts = value.split(",") if isinstance(value, str) else value
        return Universe.of(s.strip() for s in parts).symbols

    @model_validator(mode="after")
    def _dates(self) -> Settings:
        for name, value in (("start", self.start), ("end", self.end)):
            if value is None:
                continue
            if value > today():
                raise ValueError(f"{name} {value} is in the future (today is {today()} UTC): choose a day that has closed")
            if value < EARLIEST:
                raise ValueError(f"{name} {value} is before any market here was listed: the first day is {EARLIEST}")
        if self.world == "sandbox" and self.start and self.start < SANDBOX_START:
            raise ValueError(f"start {self.start}: the simulated market begins on {SANDBOX_START}; ask for a later day")
        if self.start and self.end and self.end < self.start:
            raise ValueError(f"start {self.start} is after end {self.end}: swap the two dates")
        return self

    @property
    def strategy_files(self) -> tuple[str, ...]:
        """The files of `strategies`."""
        return tuple(part.strip() for part in self.strategies.split(",") if part.strip())

    @property
    def universe(self) -> Universe:
        """The coins."""
        return Universe.of(self.symbols)

    def with_sandbox_keys(self) -> Settings:
        """These settings with a key for every keyed provider that has none: the sandbox takes any."""
        unset = {name: SecretStr("sandbox-key") for name in secret_fields() if getattr(self, name) is None}
        return self.model_copy(update=unset)

    @property
    def first_day(self) -> date:
        """First daily partition."""
        return self.start or self.last_day - timedelta(days=DEMO_DAYS - 1)

    @property
    def last_day(self) -> date:
        """Last closed day that is asked for."""
        return self.end or today() - timedelta(days=1)

    @property
    def fold_length(self) -> str:
        """`2w` or `month`."""
        return self.fold or ("2w" if self.world == "sandbox" else "month")

    @property
    def tracking_uri(self) -> str:
        """MLflow tracking store."""
        return self.mlflow_uri or f"sqlite:///{self.lake.expanduser().resolve() / '.mlflow' / 'mlflow.db'}"


def secret_fields() -> tuple[str, ...]:
    """Names of the fields that hold a provider's key."""
    others = ("redis_url", "alert_urls")
    return tuple(n for n, f in Settings.model_fields.items() if f.annotation == SecretStr | None and n not in others)


def today() -> date:
    """The current UTC day."""
    return datetime.now(UTC).date()


def load(**overrides: Any) -> Settings:
    """Settings from the environment and `overrides` (None means "not given").

    Raises SettingsError naming every variable or option that is wrong, its value, and what is allowed.
    """
    given = {k: v for k, v in overrides.items() if v is not None}
    if os.environ.get("REDIS_URL") and f"{PREFIX}REDIS_URL" not in os.environ:
        given.setdefault("redis_url", os.environ["REDIS_URL"])
    try:
        return Settings(**given)
    except ValidationError as error:
        raise SettingsError("; ".join(_explain(e, given) for e in error.errors())) from error


def _explain(error: Any, given: dict[str, Any]) -> str:
    name = str(error["loc"][0]) if error["loc"] else ""
    if not name:
        return str(error["msg"]).removeprefix("Value error, ")
    variable = f"{PREFIX}{name.upper()}"
    where = f"option {name}" if name in given else variable
    value = given.get(name, os.environ.get(variable, error.get("input")))
    return f"{where} = {value!r}: {str(error['msg']).removeprefix('Value error, ')}"
