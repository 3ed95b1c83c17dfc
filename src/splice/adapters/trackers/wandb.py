"""Training runs in Weights & Biases, by its own package; offline it only writes to a folder."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from splice.core.errors import SettingsError, StoreError
from splice.ports.trackers import TrackerOptions


class WandbTracker:
    """A Tracker in W&B."""

    def __init__(self, options: TrackerOptions) -> None:
        try:
            self._wandb: Any = importlib.import_module("wandb")
        except ImportError as error:
            raise SettingsError(
                "tracking.tracker", got=str(error), mend="install splice-ai[wandb]"
            ) from None
        self._options = options

    def start(self, model: str, at_us: int) -> WandbRun:
        """A run in the project, or in one of the model's name."""
        options = self._options
        told: dict[str, Any] = {"silent": True, "console": "off"}
        if options.token:
            told["api_key"] = options.token
        if options.url:
            told["base_url"] = options.url
        try:
            options.folder.mkdir(parents=True, exist_ok=True)
            run = self._wandb.init(
                project=options.project or model,
                dir=str(options.folder),
                mode=options.mode,
                reinit="create_new",
                settings=self._wandb.Settings(**told),
            )
        except Exception as error:  # noqa: BLE001 - its own errors, and what its parts raise
            raise _away(error) from None
        return WandbRun(run)


class WandbRun:
    """A TrackedRun in W&B."""

    def __init__(self, run: Any) -> None:
        self._run = run
        entity = run.entity or "offline"
        self.id = f"wandb:{entity}/{run.project}/{run.id}"

    def params(self, values: Mapping[str, Any]) -> None:
        """The run's config."""
        self._do(lambda: self._run.config.update(dict(values), allow_val_change=True))

    def metrics(self, values: Mapping[str, float], step: int | None, at_us: int) -> None:
        """One line of its history."""
        self._do(lambda: self._run.log(dict(values), step=step))

    def tags(self, values: Mapping[str, str]) -> None:
        """Into the config too: W&B's own tags are words without a value."""
        self._do(lambda: self._run.config.update(dict(values), allow_val_change=True))

    def finish(self, *, failed: bool, at_us: int) -> None:
        """End it. W&B's own process writes its file, and may take a moment longer."""
        self._do(lambda: self._run.finish(exit_code=1 if failed else 0))

    def _do(self, act: Any) -> None:
        try:
            act()
        except Exception as error:  # noqa: BLE001 - its own errors, and what its parts raise
            raise _away(error) from None


def _away(error: Exception) -> StoreError:
    return StoreError(
        "W&B", got=f"{type(error).__name__}: {str(error)[:300]}",
        mend='check the token, or set tracking.mode = "offline"',
    )  # fmt: skip
