"""The registry of bundles: MLflow model versions with the aliases `champion` and `challenger`, in the lake's own store.

The champion is what is served. Promotions are remembered in a tag of the registered model, newest last, so that a rollback is
one step and can be taken again. Works offline with the SQLite store of the lake; MLflow is imported when it is used.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from crypto_assets.evaluation.champion import Bundle
from crypto_assets.market.errors import CheckpointError, SettingsError
from crypto_assets.settings import Settings

MODEL = "crypto_assets"
"""Name of the registered model."""
CHAMPION, CHALLENGER = "champion", "challenger"
EXPERIMENT = "champions"
PROMOTIONS = "promotions"
"""Tag of the registered model: JSON list of `{"version", "at", "reason"}`, the champion now is the last."""
FOLDER = "bundle"


@dataclass(frozen=True)
class Registered:
    """One version in the registry."""

    number: int
    """Counts up from 1: what `promote` takes."""
    bundle: str
    """The bundle's version: the `model_version` of what is served."""
    aliases: tuple[str, ...]
    registered_at: datetime
    tags: Mapping[str, str] = field(repr=False)
    source: str = field(default="", repr=False)
    """Where its files are."""


class ModelRegistry:
    """Registry of the settings' MLflow store (`CRYPTO_ASSETS_MLFLOW_URI`, else the SQLite file in the lake)."""

    def __init__(self, settings: Settings) -> None:
        self.uri = settings.tracking_uri
        self._loaded: dict[str, Bundle] = {}

    @cached_property
    def client(self) -> Any:
        """The MLflow client."""
        from mlflow.tracking import MlflowClient

        if self.uri.startswith("sqlite:///"):
            Path(self.uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
        return MlflowClient(tracking_uri=self.uri, registry_uri=self.uri)

    def register(self, bundle: Bundle, *, alias: str | None = None) -> Registered:
        """Keep a bundle, with its lineage as tags; one that is there already keeps its number.

        The first one becomes the champion, whatever it is: something must be served. `alias=CHALLENGER` names a later one.
        """
        found = self.find(bundle.version) or self._create(bundle)
        if self.aliased(CHAMPION) is None:
            self.promote(found.number, reason="first bundle")
        elif alias is not None and CHAMPION not in found.aliases:
            self.client.set_registered_model_alias(MODEL, alias, str(found.number))
        return self.get(found.number)

    def promote(self, number: int, *, reason: str = "") -> Registered:
        """Make a version the champion. The challenger's alias goes when it was this one."""
        found = self.get(number)
        before = self.promotions()
        if not before or before[-1]["version"] != number:
            self._promotions([*before, {"version": number, "at": datetime.now(UTC).isoformat(), "reason": reason}])
        self.client.set_registered_model_alias(MODEL, CHAMPION, str(number))
        if CHALLENGER in found.aliases:
            self.client.delete_registered_model_alias(MODEL, CHALLENGER)
        return self.get(number)

    def rollback(self) -> Registered:
        """Make the champion before this one champion again. Raises SettingsError when there was none."""
        before = self.promotions()
        if len(before) < 2:
            raise SettingsError("there is no earlier champion to go back to: `crypto-assets model list` shows all versions")
        self._promotions(before[:-1])
        return self.promote(before[-2]["version"])

    def load(self, which: str | int = CHAMPION) -> Bundle:
        """The bundle of an alias or a number. Raises CheckpointError when it cannot be had or is not what its version says."""
        found = self.get(which)
        if found.bundle not in self._loaded:
            from mlflow.artifacts import download_artifacts

            try:
                folder = download_artifacts(artifact_uri=found.source, tracking_uri=self.uri)
            except Exception as error:
                raise CheckpointError(f"version {found.number} cannot be had from {found.source} ({error})") from error
            bundle = Bundle.load(Path(folder))
            if bundle.version != found.bundle:
                raise CheckpointError(
                    f"version {found.number} is registered as {found.bundle}, its files are {bundle.version}: register it again"
                )
            self._loaded = {found.bundle: bundle}
        return self._loaded[found.bundle]

    def get(self, which: str | int) -> Registered:
        """A version by number or alias. Raises SettingsError naming what there is."""
        text = str(which)
        for found in self.versions():
            if text == str(found.number) or text in found.aliases:
                return found
        there = ", ".join(f"{v.number}{f' ({chr(44).join(v.aliases)})' if v.aliases else ''}" for v in self.versions())
        raise SettingsError(
            f"no model version {text!r} is registered: there are {there or 'none, train one with `crypto-assets build`'}"
        )

    def aliased(self, alias: str) -> Registered | None:
        """The version with this alias, or None. One cheap question: what watches a champion asks it again and again."""
        from mlflow.exceptions import MlflowException

        try:
            found = self.client.get_model_version_by_alias(MODEL, alias)
        except MlflowException:
            return None
        return _registered(found, (alias,))

    def find(self, bundle: str) -> Registered | None:
        """The version that holds this bundle, or None."""
        return next((v for v in self.versions() if v.bundle == bundle), None)

    def versions(self) -> list[Registered]:
        """All versions, oldest first."""
        from mlflow.exceptions import MlflowException

        try:
            aliases = self.client.get_registered_model(MODEL).aliases
        except MlflowException:
            return []
        of: dict[str, list[str]] = {}
        for alias, number in sorted(aliases.items()):
            of.setdefault(str(number), []).append(alias)
        found = self.client.search_model_versions(f"name = '{MODEL}'", max_results=10_000)
        return sorted((_registered(v, tuple(of.get(str(v.version), ()))) for v in found), key=lambda v: v.number)

    def promotions(self) -> list[dict[str, Any]]:
        """Every promotion that holds or may be returned to, oldest first; the last is the champion."""
        from mlflow.exceptions import MlflowException

        try:
            return json.loads(self.client.get_registered_model(MODEL).tags.get(PROMOTIONS, "[]"))
        except MlflowException:
            return []

    def _promotions(self, rows: list[dict[str, Any]]) -> None:
        self.client.set_registered_model_tag(MODEL, PROMOTIONS, json.dumps(rows))

    def _create(self, bundle: Bundle) -> Registered:
        from mlflow.exceptions import MlflowException

        from crypto_assets.models.tracking import mlflow_run

        try:
            self.client.get_registered_model(MODEL)
        except MlflowException:
            self.client.create_registered_model(MODEL, description="Bundles: members and how they are combined.")
        tags = {k: v if isinstance(v, str) else json.dumps(v) for k, v in bundle.describe().items()}
        with (
            mlflow_run(self.uri, EXPERIMENT, f"{bundle.name} {bundle.version}", {"bundle": bundle.version}) as run,
            tempfile.TemporaryDirectory() as folder,
        ):
            bundle.save(Path(folder) / FOLDER)
            run.client.log_artifacts(run.run_id, str(Path(folder) / FOLDER), FOLDER)
            source = f"{run.client.get_run(run.run_id).info.artifact_uri}/{FOLDER}"
            made = self.client.create_model_version(MODEL, source, run.run_id, tags=tags)
        return _registered(made, ())


def _registered(found: Any, aliases: tuple[str, ...]) -> Registered:
    tags = dict(found.tags)
    at = datetime.fromtimestamp(found.creation_timestamp / 1000, UTC)
    return Registered(int(found.version), tags["version"], aliases, at, tags, found.source)
