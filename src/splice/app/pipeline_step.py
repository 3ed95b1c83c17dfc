"""One step of a pipeline, as the process that `pipeline_process` starts does it.

What the user's code does stays in here: what it prints is in the step's log, and how it went is in
a file that is written last, and whole.
"""

from __future__ import annotations

import importlib
import logging
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable
from math import isfinite
from pathlib import Path
from types import FrameType
from typing import Any, cast

import msgspec

from splice.adapters.child.conduct import die_with
from splice.app import wiring
from splice.app.pipeline_data import Kept, kept
from splice.app.pipeline_process import write_whole
from splice.app.pipeline_release import promoted, registered, validated
from splice.app.registering import params_of, sha256_of, to_onnx
from splice.app.settings import Settings, load
from splice.app.training import Training, training
from splice.control.artifacts import kind_of
from splice.control.parity import TOLERANCE
from splice.control.pipelines import StepEnd
from splice.control.registry import pickle_error
from splice.core.errors import DeclarationError, RefusedError, SpliceError
from splice.core.pipeline import PipelineRun, Step
from splice.core.versions import Lineage
from splice.declare.reading import integrations_in
from splice.declare.retraining import Pipeline, Trained
from splice.declare.spec import integration_name

_ERROR_MOST = 500


class StepRetraining:
    """The `splice.Retraining` of one step."""

    def __init__(self, run: PipelineRun, project: Path, folder: Path) -> None:
        self._run = run
        self.project = project
        self.folder = folder
        self.said: dict[str, Any] = {}
        self.measured: dict[str, float] = {}
        self.tracked: Training | None = None

    @property
    def id(self) -> str:
        """The run's id."""
        return self._run.id

    @property
    def why(self) -> str:
        """Why it was asked for."""
        return self._run.why

    def params(self, **values: Any) -> None:
        """What the training is given."""
        self.said.update(values)
        if self.tracked is not None:
            self.tracked.params(**values)

    def metrics(self, *, step: int | None = None, **values: float) -> None:
        """What comes out, at a step or at the end."""
        plain = {name: float(value) for name, value in values.items()}
        # JSON has no NaN: the tracker is told of it, the version's card is not.
        self.measured.update({name: value for name, value in plain.items() if isfinite(value)})
        if self.tracked is not None:
            self.tracked.metrics(step=step, **values)


class StepWork:
    """What a step of a run needs, and the two steps that run the user's code.

    Args:
        settings: Of the project.
        run: As it stands.
        folder: Of the run.
    """

    def __init__(self, settings: Settings, run: PipelineRun, folder: Path) -> None:
        self._settings = settings
        self._run = run
        self._folder = folder
        self._project = Path(settings.root)

    def end(self, step: Step) -> StepEnd:
        """Do a step; whatever it raises, it says how it ended."""
        works: dict[Step, Callable[[], StepEnd]] = {
            "data": self._data,
            "train": self._train,
            "register": lambda: registered(self._settings, self._run),
            "validate": lambda: validated(self._settings, self._run),
            "promote": lambda: promoted(self._settings, self._run),
        }
        try:
            return works[step]()
        except RefusedError as error:
            return StepEnd("refused", error=str(error))
        except SpliceError as error:
            return StepEnd("failed", error=str(error))
        except SystemExit as error:
            return StepEnd("failed", error=f"it called sys.exit({error.code!r})"[:_ERROR_MOST])
        except BaseException as error:  # noqa: BLE001 - the user's own code: its trace is in the log
            traceback.print_exc()
            return StepEnd("failed", error=f"{type(error).__name__}: {error}"[:_ERROR_MOST])

    def _pipeline(self) -> Pipeline:
        """The pipeline, of modules that are imported as in any program.

        So that what training starts (processes of joblib) can import them too.
        """
        _, modules = wiring.modules_of(self._settings)
        for name in modules:
            for cls in integrations_in(importlib.import_module(name)):
                if integration_name(cls) == self._run.integration:
                    return cls().retrain()
        raise DeclarationError(self._run.integration, got="no integration of that name any more")

    def _retraining(self, step: Step) -> StepRetraining:
        folder = self._folder / step
        folder.mkdir(exist_ok=True)
        return StepRetraining(self._run, self._project, folder)

    def _data(self) -> StepEnd:
        run = self._retraining("data")
        found = kept(self._pipeline().data(run), self._project, run.folder)
        outputs = {**plain(found), "params": run.said, "metrics": run.measured}
        return StepEnd("done", inputs={"why": self._run.why}, outputs=plain(outputs))

    def _train(self) -> StepEnd:
        run = self._retraining("train")
        before = self._run.outputs("data")
        data = msgspec.convert(
            {name: before[name] for name in Kept.__struct_fields__ if name in before}, Kept
        )
        pipeline = self._pipeline()
        with training(self._run.model, project=self._project) as tracked:
            run.tracked = tracked
            digest = tracked.data(data.source(), data.name)
            if digest != data.sha256:
                raise DeclarationError(
                    data.name, got=f"data of {digest[:12]}", promised=f"{data.sha256[:12]}, as it "
                    "was when step data ended", mend="run the pipeline again",
                )  # fmt: skip
            run.params(**{"splice.pipeline": self._run.id, **before["params"]})
            if before["metrics"]:
                run.metrics(**before["metrics"])
            made = pipeline.train(run, data.read())
            trained = made if isinstance(made, Trained) else Trained(model=made)
            file, lineage = self._model(trained, run.folder)
        outputs = {
            "model": str(file),
            "sha256": sha256_of(file),
            "size": file.stat().st_size,
            "run": tracked.id,
            "metrics": run.measured,
            "lineage": msgspec.structs.replace(lineage, params={**lineage.params, **run.said}),
            "card": trained.card,
        }
        inputs = {"data": data.name, "data_sha256": data.sha256, "rows": data.rows}
        return StepEnd("done", inputs=inputs, outputs=plain(outputs))

    def _model(self, trained: Trained, folder: Path) -> tuple[Path, Lineage]:
        """The model as a file of the run: nobody changes that on the way to the registry."""
        model = trained.model
        if not isinstance(model, (str, Path)):
            file = folder / "model.onnx"
            tolerance = TOLERANCE if trained.tolerance is None else trained.tolerance
            lineage = to_onnx(
                self._run.model, model, file, example=trained.example, tolerance=tolerance
            )
            return file, msgspec.structs.replace(lineage, params=params_of(model))
        source = self._project / model
        if not source.is_file():
            raise DeclarationError("train", got=f"no file {source}", promised="a model's file")
        if kind_of(source) == "pickle":
            raise pickle_error(source.name)
        file = folder / f"model{source.suffix}"
        if file.resolve() != source.resolve():
            shutil.copyfile(source, file)
        return file, Lineage(params={})


def plain(value: Any) -> Any:
    """As JSON values: what JSON cannot hold becomes its text."""
    return msgspec.to_builtins(value, str_keys=True, enc_hook=str)


def _leave_signals_to_parent() -> None:
    """A service manager ends a whole group: the parent is told too, and ends this process.

    What training starts is not to inherit that: it must be possible to end it.
    """
    signals = (signal.SIGINT, signal.SIGTERM)
    for one in signals:  # a handler, for what is ignored stays so in other programs
        signal.signal(one, _nothing)

    def in_child() -> None:
        for one in signals:
            signal.signal(one, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, signals)

    # Blocked until the child is ready for them: else one that comes too early would be lost.
    os.register_at_fork(
        before=lambda: signal.pthread_sigmask(signal.SIG_BLOCK, signals),
        after_in_parent=lambda: signal.pthread_sigmask(signal.SIG_UNBLOCK, signals),
        after_in_child=in_child,
    )


def _nothing(_: int, __: FrameType | None) -> None:
    """What these signals do here."""


def main() -> None:
    """Do the step that the command line names."""
    root, folder, step, parent = sys.argv[1:]
    die_with(int(parent))
    _leave_signals_to_parent()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    run = msgspec.json.decode(Path(folder, "run.json").read_bytes(), type=PipelineRun)
    work = StepWork(load(Path(root)), run, Path(folder))
    end = work.end(cast("Step", step))
    write_whole(Path(folder, f"{step}.json"), msgspec.json.encode(end))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)  # threads that were left running hold nobody up


if __name__ == "__main__":
    main()
