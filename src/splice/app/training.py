"""Training: the one small hook that logs a run, and registers what came out of it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from splice.app.clock import now_us
from splice.app.plugins import plugin
from splice.app.registering import params_of, register, revision_of, sha256_of
from splice.app.settings import Settings, find_root, load
from splice.control.parity import TOLERANCE
from splice.control.registry import check_name
from splice.core.errors import StoreError, Unstorable
from splice.core.release import ModelVersion
from splice.core.versions import Card, Lineage
from splice.ports.trackers import TrackedRun, Tracker, TrackerOptions

log = logging.getLogger("splice.training")

_WAITING_MOST = 100_000


class Training:
    """A training run that is logged while it goes on.

    A tracker that goes away after the start never stops it: what could not be logged waits, is
    tried again with everything that comes after, and is written to `tracking.folder` if the tracker
    is still away at the end.
    """

    def __init__(self, model: str, settings: Settings, run: TrackedRun) -> None:
        self._model = model
        self._settings = settings
        self._run = run
        self._waiting: list[tuple[str, Any]] = []
        self._refused: list[tuple[str, Any]] = []
        self._params: dict[str, Any] = {}
        self._metrics: dict[str, float] = {}
        self._data: tuple[str, str] = ("", "")  # what it is called, its SHA-256
        self._revision = revision_of(Path(settings.root))
        if self._revision:
            self._say("tags", {"splice.code_revision": self._revision})

    @property
    def id(self) -> str:
        """The run's name, as a version's lineage has it: `mlflow:RUN_ID`, `files:RUN`."""
        return self._run.id

    def params(self, **values: Any) -> None:
        """What the training is given: JSON values."""
        self._params.update(values)
        self._say("params", values)

    def metrics(self, *, step: int | None = None, **values: float) -> None:
        """What comes out, at a step or at the end. The last of each goes into the card."""
        plain = {name: float(value) for name, value in values.items()}
        self._metrics.update(plain)
        self._say("metrics", (plain, step, now_us()))

    def data(self, data: str | Path | bytes, name: str = "") -> str:
        """The SHA-256 of what it is trained on, which is logged: a file, or the bytes."""
        if isinstance(data, bytes):
            digest = hashlib.sha256(data).hexdigest()
        else:
            digest, name = sha256_of(Path(data)), name or Path(data).name
        self._data = (name, digest)
        self._say("tags", {"splice.data": name, "splice.data_sha256": digest})
        return digest

    def register(
        self,
        model: Any,
        *,
        example: Any = None,
        card: Card | None = None,
        alias: str | None = None,
        tolerance: float = TOLERANCE,
    ) -> ModelVersion:
        """Registers what was trained, as `splice.register` does; the version names this run.

        Raises:
            DeclarationError: As in `splice.register`.
            ModelUnavailable: As in `splice.register`.
            StoreError: As in `splice.register`.
        """
        told = card or Card()
        name, digest = self._data
        version = register(
            self._model,
            model,
            example=example,
            card=msgspec.structs.replace(told, metrics={**self._metrics, **told.metrics}),
            lineage=Lineage(
                data=name, data_sha256=digest, code_revision=self._revision,
                params={**params_of(model), **self._params}, run=self.id,
            ),
            alias=alias,
            tolerance=tolerance,
            project=self._settings.root,
        )  # fmt: skip
        self._say("tags", {"splice.version": version.label, "splice.sha256": version.sha256})
        return version

    def finish(self, *, failed: bool) -> None:
        """Log that it ended, and keep what the tracker did not take."""
        self._say("finish", (failed, now_us()))
        unsent = self._refused + self._waiting
        if unsent:
            file = Path(self._settings.path(self._settings.tracking.folder), "unsent")
            file.mkdir(parents=True, exist_ok=True)
            file /= f"{self.id.replace('/', '_').replace(':', '-')}.jsonl"
            lines = [msgspec.json.encode(one, enc_hook=str) for one in unsent]
            file.write_bytes(b"\n".join(lines) + b"\n")
            log.warning(
                "%s: %d entries of the run are in %s: the tracker did not take them",
                self.id, len(unsent), file,
            )  # fmt: skip

    def _say(self, kind: str, values: Any) -> None:
        """Log it, and before it whatever waits."""
        if len(self._waiting) < _WAITING_MOST:
            self._waiting.append((kind, values))
        was_away = len(self._waiting) > 1
        try:
            while self._waiting:
                try:
                    self._tell(*self._waiting[0])
                except Unstorable as error:
                    log.warning("%s: an entry is not logged: %s", self.id, error)
                    self._refused.append(self._waiting[0])
                del self._waiting[0]
        except StoreError as error:
            if not was_away:
                log.warning("%s is not logged for now: %s", self.id, error)

    def _tell(self, kind: str, values: Any) -> None:
        run = self._run
        acts: dict[str, Callable[[], None]] = {
            "params": lambda: run.params(values),
            "tags": lambda: run.tags(values),
            "metrics": lambda: run.metrics(*values),
            "finish": lambda: run.finish(failed=values[0], at_us=values[1]),
        }
        acts[kind]()


@contextmanager
def training(
    model: str, params: Mapping[str, Any] | None = None, *, project: str | Path = "."
) -> Generator[Training]:
    """A training run of a model, logged to the tracker that the settings name.

        with splice.training("credit", {"depth": 3}) as run:
            run.data("applications.csv")
            run.metrics(auc=0.81)
            run.register(estimator, example=rows)

    A block that raises ends the run as failed. Blocks.

    Args:
        model: Name of the model.
        params: What the training is given.
        project: A folder in the project.

    Raises:
        StoreError: The tracker is away at the start.
        DeclarationError: No route could use that name.
        SettingsError: There is no such tracker, or its library is not installed.
    """
    check_name(model)
    settings = load(find_root(Path(project)))
    run = Training(model, settings, tracker_of(settings).start(model, now_us()))
    if params:
        run.params(**params)
    try:
        yield run
    except BaseException:
        run.finish(failed=True)
        raise
    run.finish(failed=False)


def tracker_of(settings: Settings) -> Tracker:
    """The tracker that the settings name."""
    section = settings.tracking
    options = TrackerOptions(
        url=section.url or (settings.registry.url if section.tracker == "mlflow" else ""),
        folder=settings.path(section.folder),
        project=section.project,
        mode=section.mode,
        token=settings.secrets.get(section.token_env or settings.registry.token_env, ""),
    )
    extra = "splice-ai[wandb]" if section.tracker == "wandb" else ""
    return plugin("trackers", section.tracker, extra)(options)
