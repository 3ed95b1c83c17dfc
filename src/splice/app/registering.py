"""Registering: a file, an archive or a trained estimator becomes a version of a project."""

from __future__ import annotations

import hashlib
import math
import subprocess
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import msgspec

from splice.app import wiring
from splice.app.clock import now_us
from splice.app.plugins import available, names, plugin
from splice.app.settings import Settings, find_root, load, user_name
from splice.control import archives
from splice.control.artifacts import Kind, imports_of, kind_of
from splice.control.cards import card_of
from splice.control.parity import TOLERANCE, Compared, compared
from splice.control.registry import Adopted, Registration, pickle_error
from splice.core.errors import DeclarationError, ModelUnavailable, SpliceError
from splice.core.release import Column, ModelVersion, Signature
from splice.core.versions import Card, Lineage
from splice.ports.converters import Converted, Converter, FileConverter
from splice.ports.runtimes import ModelRuntime

_CHUNK = 256  # rows of one run while parity is checked
_PARAMS_MOST = 200


class Registrar:
    """Registers models of one project.

    Args:
        settings: Of the project.
        stores: Its ledger, open.
    """

    def __init__(self, settings: Settings, stores: wiring.Stores) -> None:
        self._settings = settings
        self._registry = wiring.registry_of(settings, stores)

    def usual_aliases(self, name: str) -> tuple[str, ...]:
        """What points at a version where nobody says: only the first is the champion by itself."""
        return self._registry.usual_aliases(name)

    def file(
        self,
        name: str,
        file: Path,
        said: Registration,
        *,
        example: Any = None,
        tolerance: float = TOLERANCE,
    ) -> Adopted:
        """The version of a file: ONNX as it is, LightGBM and XGBoost converted, or in an archive.

        Raises:
            DeclarationError: A name that no route could use; a conversion too far off.
            ModelUnavailable: It is damaged, of no known kind, or a pickle.
        """
        kind = kind_of(file)
        source = said.source or file.name
        said = msgspec.structs.replace(said, source=source)
        if kind not in ("zip", "tar"):
            return self._model(name, file, kind, said, example, tolerance)
        with archives.opened(file, kind) as inside:
            card = said.card
            if card == Card() and inside.card:
                card = card_of(inside.card, f"{file.name}/card.toml")
            said = msgspec.structs.replace(said, card=card, source=f"{source}/{inside.name}")
            return self._model(name, inside.model, inside.kind, said, example, tolerance)

    def _model(
        self,
        name: str,
        file: Path,
        kind: Kind,
        said: Registration,
        example: Any,
        tolerance: float,
    ) -> Adopted:
        if kind == "pickle":
            raise pickle_error(said.source)
        if kind not in ("lightgbm", "xgboost"):
            return self._registry.register(name, file, now_us=now_us(), said=said)
        converter: FileConverter = plugin("converters", kind, "splice-ai[convert]")()
        made = converter.convert_file(file, example)
        return self._converted(name, made, said, tolerance)

    def pickle(self, name: str, file: Path, said: Registration, signature: Signature) -> Adopted:
        """The version of a pickle, where the settings allow such, and somebody says why.

        Raises:
            DeclarationError: `models.allow_pickle` is off, nobody says why, or it is none.
        """
        if not self._settings.models.allow_pickle:
            raise DeclarationError(
                file.name, got="a pickle: loading it runs whatever code its author chose",
                promised="models.allow_pickle = true in splice.toml, as a decision of the operator",
                mend="export it to ONNX instead",
            )  # fmt: skip
        if not said.why:
            raise DeclarationError(
                file.name, got="no reason", promised="why this pickle is trusted", mend="say --why"
            )
        if kind_of(file) != "pickle":
            raise DeclarationError(
                file.name, got="no pickle", mend="register it without --unsafe-pickle"
            )
        details = {**said.details, "imports": imports_of(file)}
        said = msgspec.structs.replace(said, details=details, source=said.source or file.name)
        return self._registry.register_as(
            name, file, "pickle", signature, now_us=now_us(), said=said
        )

    def estimator(
        self,
        name: str,
        estimator: Any,
        said: Registration,
        *,
        example: Any = None,
        tolerance: float = TOLERANCE,
    ) -> Adopted:
        """The version of a trained estimator, converted to ONNX and compared with the original.

        Raises:
            DeclarationError: It cannot be converted, or the conversion is further off than
                `tolerance`.
        """
        made = _converter(estimator).convert(estimator, example)
        lineage = said.lineage
        if not lineage.params:
            lineage = msgspec.structs.replace(lineage, params=params_of(estimator))
        return self._converted(
            name, made, msgspec.structs.replace(said, lineage=lineage), tolerance
        )

    def _converted(
        self, name: str, candidates: list[Converted], said: Registration, tolerance: float
    ) -> Adopted:
        with tempfile.TemporaryDirectory(prefix="splice-model-") as folder:
            file = Path(folder, "model.onnx")
            found = _written(name, candidates, file, tolerance)
            lineage = msgspec.structs.replace(
                said.lineage, original=found.original, parity=found.parity
            )
            said = msgspec.structs.replace(
                said, lineage=lineage, source=said.source or found.original
            )
            return self._registry.register(name, file, now_us=now_us(), said=said)


def to_onnx(name: str, estimator: Any, file: Path, *, example: Any, tolerance: float) -> Lineage:
    """Writes a trained estimator as ONNX; gives what it was, and how far the file is from it.

    Raises:
        DeclarationError: It cannot be converted, or the conversion is further off.
    """
    made = _converter(estimator).convert(estimator, example)
    return _written(name, made, file, tolerance)


def _written(name: str, candidates: list[Converted], file: Path, tolerance: float) -> Lineage:
    runtime = available("runtimes", "onnx")
    if runtime is None:
        raise ModelUnavailable(name, got="no runtime for ONNX", mend="install splice-ai[onnx]")
    chosen, parity = _chosen(name, candidates, runtime(), file, tolerance)
    return Lineage(original=chosen.original, parity=parity.parity)


def _chosen(
    name: str,
    candidates: list[Converted],
    runtime: ModelRuntime,
    file: Path,
    tolerance: float,
) -> tuple[Converted, Compared]:
    """The first precision whose answers are the original's; `file` holds it then."""
    best: Compared | None = None
    failure: SpliceError | None = None
    for one in candidates:
        file.write_bytes(one.model)
        try:
            parity = _compared(one, runtime, file, tolerance)
        except SpliceError as error:
            failure = error
            continue
        if parity.holds:
            return one, parity
        if best is None or parity.parity.max_difference < best.parity.max_difference:
            best = parity
    if best is None:
        got = str(failure) if failure is not None else "no conversion"
        raise DeclarationError(
            name, got=f"a conversion that does not run: {got}",
            promised="an ONNX model that answers its own example",
        )  # fmt: skip
    figures = best.parity
    raise DeclarationError(
        name,
        got=f"a conversion off by {figures.max_difference:.6g}, with {figures.labels_differ} of "
        f"{figures.rows} labels different",
        promised=f"at most {figures.tolerance:.6g}, and the same labels",
        mend="scale columns with very large values, or allow more with tolerance=",
    )


def _compared(one: Converted, runtime: ModelRuntime, file: Path, tolerance: float) -> Compared:
    model = runtime.load(file)
    questions = one.questions
    answers = [
        answer
        for start in range(0, len(questions), _CHUNK)
        for answer in model.run(questions[start : start + _CHUNK])
    ]
    return compared(one.answers, answers, tolerance)


def _converter(estimator: Any) -> Converter:
    for name in names("converters"):
        made = available("converters", name)
        if made is not None and (converter := made()).can(estimator):
            return converter
    cls = cast("Any", type(estimator))
    raise DeclarationError(
        f"{cls.__module__}.{cls.__qualname__}",
        got="what no installed converter knows",
        promised="an estimator of scikit-learn, LightGBM or XGBoost, or the path of a file",
        mend="export it to ONNX and register the file; install splice-ai[convert] if it is not",
    )


def params_of(estimator: Any) -> dict[str, Any]:
    """The parameters of an estimator that JSON can hold, as a training would log them."""
    get = getattr(estimator, "get_params", None)
    if not callable(get):
        return {}
    given: Any = get()
    plain = {str(k): v for k, v in given.items() if isinstance(v, (str, int, float, bool))}
    return {
        name: value
        for name, value in list(plain.items())[:_PARAMS_MOST]
        if not isinstance(value, float) or math.isfinite(value)  # JSON has no NaN
    }


def revision_of(folder: Path) -> str:
    """The revision of a folder's code: git's commit, with `+changes` where files differ from it.

    Empty where it is in no git repository, or git is not installed.
    """

    def git(*arguments: str) -> str:
        done = subprocess.run(  # noqa: S603 - our own words
            ["git", "-C", str(folder), "-c", "core.fsmonitor=false", *arguments],  # noqa: S607
            capture_output=True, text=True, check=True, timeout=10,
        )  # fmt: skip
        return done.stdout.strip()

    try:
        revision = git("rev-parse", "--verify", "HEAD")
        changes = git("status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return ""
    return f"{revision}+changes" if changes else revision


def sha256_of(file: Path) -> str:
    """SHA-256 of a file, in hexadecimal.

    Raises:
        DeclarationError: It cannot be read.
    """
    try:
        with file.open("rb") as opened:
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as error:
        raise DeclarationError(
            str(file), got=error.strerror or "no readable file", mend="name a file"
        ) from None


@contextmanager
def registrar(project: str | Path = ".") -> Generator[tuple[Settings, Registrar]]:
    """A registrar of the project that a folder is in, for a moment."""
    settings = load(find_root(Path(project)))
    stores = wiring.Stores(settings)
    try:
        yield settings, Registrar(settings, stores)
    finally:
        stores.close()


def register(
    name: str,
    model: Any,
    *,
    example: Any = None,
    card: Card | None = None,
    lineage: Lineage | None = None,
    run: str = "",
    alias: str | None = None,
    tolerance: float = TOLERANCE,
    project: str | Path = ".",
) -> ModelVersion:
    """Registers a trained estimator, or a model file, as the next version of a name.

    An estimator of scikit-learn, LightGBM or XGBoost is converted to ONNX. The file and the
    original then answer the rows of `example` and 500 more drawn from its ranges; how far they are
    apart is kept in the version's `lineage.parity`. Blocks.

    Args:
        name: Of the model.
        model: A fitted estimator, or the path of an ONNX, LightGBM or XGBoost file.
        example: Rows that the estimator answers: a data frame, a matrix [N, F], a list of dicts.
        card: What a person must know who decides on the model.
        lineage: Where it comes from. The code's revision, the estimator's class and parameters are
            filled in.
        run: The training run, as `mlflow:RUN_ID`.
        alias: Alias to point at the new version, such as `challenger`; empty for none. Left out,
            the first version of a name is its champion, and later ones get none.
        tolerance: The most that a chance may differ; of values, of the largest of them.
        project: A folder in the project.

    Raises:
        DeclarationError: The estimator cannot be converted, or the conversion is further off.
        ModelUnavailable: The file is damaged, of another kind, or a pickle.
        StoreError: The ledger cannot be reached; nothing was registered.
    """
    origin = lineage or Lineage()
    with registrar(project) as (settings, one):
        said = Registration(
            by=user_name(),
            aliases=one.usual_aliases(name) if alias is None else (alias,) if alias else (),
            card=card or Card(),
            lineage=msgspec.structs.replace(
                origin,
                run=run or origin.run,
                code_revision=origin.code_revision or revision_of(Path(settings.root)),
            ),
        )
        if isinstance(model, (str, Path)):
            kept = one.file(name, Path(model), said, example=example, tolerance=tolerance)
        else:
            kept = one.estimator(name, model, said, example=example, tolerance=tolerance)
    return kept.version


def by_hand(features: tuple[str, ...], classes: tuple[str, ...]) -> Signature:
    """The signature of a pickled estimator, as a person says it.

    Raises:
        DeclarationError: No features are named.
    """
    if not features:
        raise DeclarationError(
            "--features", got="nothing", promised="the names of the columns, in the order of the "
            "training: a pickle is not opened to look", mend="say --features a,b,c",
        )  # fmt: skip
    outputs = (Column("value", "FP64", (-1,)),)
    if classes:
        outputs = (
            Column("label", "BYTES", (-1,)),
            Column("probabilities", "FP64", (-1, len(classes))),
        )
    inputs = (Column("X", "FP64", (-1, len(features))),)
    return Signature(inputs, outputs, classes, features)
