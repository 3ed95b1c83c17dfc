"""Training runs in MLflow, by its REST API."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from splice.adapters.net.mlflow import Mlflow
from splice.core.errors import SettingsError, StoreError
from splice.ports.trackers import TrackerOptions

_BATCH = 100  # parameters or tags that MLflow takes at once; of metrics it takes more
_VALUE_MOST = 6000  # characters of one parameter


class MlflowTracker:
    """A Tracker in MLflow."""

    def __init__(self, options: TrackerOptions) -> None:
        if not options.url:
            raise SettingsError(
                "tracking.url", got="nothing", promised="the URL of an MLflow server",
                mend="set tracking.url, or registry.url",
            )  # fmt: skip
        self._options = options

    def start(self, model: str, at_us: int) -> MlflowRun:
        """A run in the experiment of the project, or of the model's name."""
        api = Mlflow(self._options.url, self._options.token)
        try:
            return MlflowRun(api, _started(api, self._options.project or model, at_us))
        except BaseException:
            api.close()
            raise


def _started(api: Mlflow, experiment: str, at_us: int) -> str:
    found = api.get("experiments/get-by-name", experiment_name=experiment)
    if found is not None:
        number = found["experiment"]["experiment_id"]
    else:
        try:
            number = api.post("experiments/create", {"name": experiment})["experiment_id"]
        except StoreError:  # another training made it a moment ago
            found = api.get("experiments/get-by-name", experiment_name=experiment)
            if found is None:
                raise
            number = found["experiment"]["experiment_id"]
    made = api.post("runs/create", {"experiment_id": number, "start_time": at_us // 1000})
    return str(made["run"]["info"]["run_id"])


class MlflowRun:
    """A TrackedRun in MLflow."""

    def __init__(self, api: Mlflow, run: str) -> None:
        self._api = api
        self._run = run
        self.id = f"mlflow:{run}"

    def params(self, values: Mapping[str, Any]) -> None:
        """Parameters; MLflow keeps the first value of each."""
        texts = {name: str(value)[:_VALUE_MOST] for name, value in values.items()}
        self._batches("params", texts)

    def metrics(self, values: Mapping[str, float], step: int | None, at_us: int) -> None:
        """Metrics of one step."""
        listed = [
            {"key": name, "value": value, "timestamp": at_us // 1000, "step": step or 0}
            for name, value in values.items()
        ]
        self._api.post("runs/log-batch", {"run_id": self._run, "metrics": listed})

    def tags(self, values: Mapping[str, str]) -> None:
        """Tags; the revision of the code also under the name that MLflow's pages show."""
        more = dict(values)
        if revision := more.get("splice.code_revision"):
            more["mlflow.source.git.commit"] = revision.partition("+")[0]
        self._batches("tags", more)

    def _batches(self, kind: str, values: Mapping[str, str]) -> None:
        rest = iter(values.items())
        while batch := list(islice(rest, _BATCH)):
            listed = [{"key": key, "value": value} for key, value in batch]
            self._api.post("runs/log-batch", {"run_id": self._run, kind: listed})

    def finish(self, *, failed: bool, at_us: int) -> None:
        """End it, and hang up."""
        status = "FAILED" if failed else "FINISHED"
        try:
            self._api.post(
                "runs/update", {"run_id": self._run, "status": status, "end_time": at_us // 1000}
            )
        finally:
            self._api.close()
