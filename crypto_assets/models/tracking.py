"""Where a fit reports to: nothing, or MLflow. MLflow is imported only when it is used."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol


class Recorder(Protocol):
    """What a fit may tell: parameters once, curves by step, metrics at the end, files."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Record parameters."""
        ...

    def curve(self, name: str, step: int, value: float) -> None:
        """Record one point of a curve."""
        ...

    def metrics(self, values: Mapping[str, float]) -> None:
        """Record final metrics."""
        ...

    def artifact(self, path: Path) -> None:
        """Keep a file."""
        ...


class Silent:
    """Records nothing."""

    def params(self, values: Mapping[str, Any]) -> None:
        """Nothing."""

    def curve(self, name: str, step: int, value: float) -> None:
        """Nothing."""

    def metrics(self, values: Mapping[str, float]) -> None:
        """Nothing."""

    def artifact(self, path: Path) -> None:
        """Nothing."""


class Renamed(Silent):
    """Passes curves on under names with a prefix; the rest was said already."""

    def __init__(self, recorder: Recorder, prefix: str) -> None:
        self.recorder, self.prefix = recorder, prefix

    def curve(self, name: str, step: int, value: float) -> None:
        """One point of a curve."""
        self.recorder.curve(f"{self.prefix}{name}", step, value)


class MlflowRecorder:
    """Records into one MLflow run; curves are sent in batches."""

    def __init__(self, client: Any, run_id: str) -> None:
        self.client = client
        self.run_id = run_id
        self._points: list[Any] = []

    def params(self, values: Mapping[str, Any]) -> None:
        """Log parameters."""
        from mlflow.entities import Param

        self.client.log_batch(self.run_id, params=[Param(k, str(v)) for k, v in values.items()])

    def curve(self, name: str, step: int, value: float) -> None:
        """Queue one point of a curve."""
        import time

        from mlflow.entities import Metric

        self._points.append(Metric(name, float(value), int(time.time() * 1000), step))

    def metrics(self, values: Mapping[str, float]) -> None:
        """Log final metrics."""
        for name, value in values.items():
            self.curve(name, 0, value)

    def artifact(self, path: Path) -> None:
        """Upload a file."""
        self.client.log_artifact(self.run_id, str(path))

    def flush(self) -> None:
        """Send what is queued."""
        for at in range(0, len(self._points), 1000):
            self.client.log_batch(self.run_id, metrics=self._points[at : at + 1000])
        self._points = []


@contextmanager
def mlflow_run(uri: str, experiment: str, name: str, tags: Mapping[str, str]) -> Iterator[MlflowRecorder]:
    """One MLflow run, ended as FINISHED, or FAILED when the block raises."""
    from mlflow.tracking import MlflowClient

    if uri.startswith("sqlite:///"):
        Path(uri.removeprefix("sqlite:///")).parent.mkdir(parents=True, exist_ok=True)
    client = MlflowClient(tracking_uri=uri)
    found = client.get_experiment_by_name(experiment)
    location = None
    if uri.startswith("sqlite:///"):
        location = (Path(uri.removeprefix("sqlite:///")).parent / "artifacts").as_uri()
    experiment_id = found.experiment_id if found else client.create_experiment(experiment, artifact_location=location)
    run = client.create_run(experiment_id, run_name=name, tags=dict(tags))
    recorder = MlflowRecorder(client, run.info.run_id)
    try:
        yield recorder
    except BaseException:
        recorder.flush()
        client.set_terminated(run.info.run_id, status="FAILED")
        raise
    recorder.flush()
    client.set_terminated(run.info.run_id)
