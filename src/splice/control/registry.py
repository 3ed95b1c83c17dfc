"""Model files become numbered versions; an alias says which one a route means."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import msgspec

from splice.control.artifacts import kind_of
from splice.control.signatures import breaks
from splice.core.errors import DeclarationError, ModelUnavailable
from splice.core.release import ModelVersion, Signature
from splice.core.versions import Card, Lineage
from splice.ports.runtimes import ModelRuntime
from splice.ports.stores import ModelStore

CHAMPION = "champion"
"""The alias that a route means when it names none."""


_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


class Adopted(msgspec.Struct, frozen=True):
    """A version, and whether it is new."""

    version: ModelVersion
    is_new: bool


class Registration(msgspec.Struct, frozen=True):
    """What is said of a version when it is registered, and by whom.

    `new_signature` allows that an alias moves to a version which reads or gives something else.
    `details` go into the audit event.
    """

    by: str = ""
    why: str = ""
    source: str = ""
    aliases: tuple[str, ...] = ()
    card: Card = Card()
    lineage: Lineage = Lineage()
    new_signature: bool = False
    details: dict[str, Any] = {}


def split_ref(ref: str) -> tuple[str, str]:
    """Name and alias or number of `credit`, `credit@champion` or `credit@3`."""
    name, _, which = ref.partition("@")
    return name, which or CHAMPION


class Registry:
    """Registers and resolves model files.

    Args:
        models: Where versions are kept.
        runtime: Reads a file's signature; None where no runtime is installed.
        folder: Files here named `NAME.onnx` are registered when a release needs them.
    """

    def __init__(self, models: ModelStore, runtime: ModelRuntime | None, folder: Path) -> None:
        self._models = models
        self._runtime = runtime
        self._folder = folder

    def numbers(self, name: str) -> list[int]:
        """The versions of a name, oldest first."""
        return sorted(one.version for one in self._models.models(name))

    def usual_aliases(self, name: str) -> tuple[str, ...]:
        """What points at a version where nobody says: only the first is the champion by itself."""
        return () if CHAMPION in self._models.aliases(name) else (CHAMPION,)

    def register(
        self,
        name: str,
        file: Path,
        *,
        now_us: int,
        aliases: tuple[str, ...] = (),
        said: Registration = Registration(),  # noqa: B008 - frozen
    ) -> Adopted:
        """The version of an ONNX file: a new number, or the one that these bytes have already.

        Raises:
            DeclarationError: No route could name it, or an alias would move to a version that
                reads or gives something else.
            ModelUnavailable: It is not a model that can be loaded.
        """
        check_name(name)
        prospect = self._prospect(name, file, now_us)
        return self._keep(file, prospect, _with(said, aliases))

    def register_as(
        self,
        name: str,
        file: Path,
        kind: str,
        signature: Signature,
        *,
        now_us: int,
        said: Registration,
    ) -> Adopted:
        """The version of an artifact that the runtime does not read: `remote`, or `pickle`.

        Raises:
            DeclarationError: As in `register`.
        """
        check_name(name)
        known = self.known(name, file)
        prospect = (
            Adopted(self._version(name, file, kind, signature, now_us), is_new=True)
            if known is None
            else Adopted(known, is_new=False)
        )
        return self._keep(file, prospect, said)

    def _keep(self, file: Path, prospect: Adopted, said: Registration) -> Adopted:
        version = prospect.version
        for alias in said.aliases:
            self._check_alias(version, alias, said)
        if prospect.is_new:
            version = msgspec.structs.replace(
                version, card=said.card, lineage=said.lineage, source=said.source or version.source
            )
        kept = self._models.add_model(
            version.name, file, version, aliases=said.aliases, by=said.by, why=said.why,
            details=said.details,
        )  # fmt: skip
        return Adopted(kept, prospect.is_new)

    def _check_alias(self, version: ModelVersion, alias: str, said: Registration) -> None:
        before = self._models.resolve(version.name, alias)
        if before is None or before.sha256 == version.sha256 or said.new_signature:
            return
        wrong = breaks(before.signature, version.signature)
        if wrong:
            raise DeclarationError(
                f"{version.name}@{alias}",
                got=f"a version unlike {before.label}: {'; '.join(wrong[:5])}",
                promised="what its callers send and read now",
                mend="leave the alias where it is, or say --new-signature",
            )

    def _prospect(self, name: str, file: Path, now_us: int) -> Adopted:
        """The version that a file is, or would become; nothing is kept."""
        known = self.known(name, file)
        if known is not None:
            return Adopted(known, is_new=False)
        version = self._version(name, file, "onnx", self.inspect(file), now_us)
        return Adopted(version, is_new=True)

    def _version(
        self, name: str, file: Path, kind: str, signature: Signature, now_us: int
    ) -> ModelVersion:
        raw = file.read_bytes()
        return ModelVersion(
            name=name,
            version=1 + max((one.version for one in self._models.models(name)), default=0),
            sha256=hashlib.sha256(raw).hexdigest(),
            size=len(raw),
            format=kind,
            signature=signature,
            created_us=now_us,
            source=file.name,
        )

    def inspect(self, file: Path) -> Signature:
        """The signature of a file.

        Raises:
            ModelUnavailable: It is not a model that can be loaded, or it is a pickle.
        """
        if kind_of(file) == "pickle":
            raise pickle_error(file.name)
        if self._runtime is None:
            raise ModelUnavailable(
                file.name, got="no runtime for ONNX", mend="install splice-ai[onnx]"
            )
        return self._runtime.inspect(file)

    def known(self, name: str, file: Path) -> ModelVersion | None:
        """The version that a file is registered as already, or None."""
        with file.open("rb") as raw:
            sha256 = hashlib.file_digest(raw, "sha256").hexdigest()
        return next((one for one in self._models.models(name) if one.sha256 == sha256), None)

    def promote(self, name: str, version: int, *, by: str = "", now_us: int = 0) -> None:
        """Let the champion be a version that a release was just made of."""
        self._models.set_alias(name, CHAMPION, version, by=by, now_us=now_us)

    def point(self, version: ModelVersion, alias: str, *, now_us: int, said: Registration) -> None:
        """Point an alias at a version.

        Raises:
            DeclarationError: It would move to a version that reads or gives something else.
        """
        self._check_alias(version, alias, said)
        self._models.set_alias(
            version.name, alias, version.version, by=said.by, why=said.why, now_us=now_us
        )

    def candidate(self, ref: str) -> Path | None:
        """The file in the models folder that a reference would register, if there is one."""
        name, which = split_ref(ref)
        file = self._folder / f"{name}.onnx"
        return file if which == CHAMPION and file.is_file() else None

    def resolve(self, ref: str, *, now_us: int) -> Adopted | None:
        """The version that a reference names; nothing is kept.

        A file in the models folder comes first: it is what applying would register.

        Raises:
            ModelUnavailable: The file is not a model that can be loaded.
        """
        name, which = split_ref(ref)
        file = self.candidate(ref)
        if file is not None:
            return self._prospect(name, file, now_us)
        known = self._models.resolve(name, which)
        return None if known is None else Adopted(known, is_new=False)


def pickle_error(name: str) -> ModelUnavailable:
    """What is said of a file that runs code when it is loaded."""
    return ModelUnavailable(
        name,
        got="a pickle: loading it runs whatever code its author chose",
        promised="a format that holds a model and nothing else",
        mend="export it to ONNX, or hand the estimator to splice.register",
    )


def check_name(name: str) -> None:
    """Refuses a name that no route could use.

    Raises:
        DeclarationError: It is one.
    """
    if not _NAME.fullmatch(name):
        raise DeclarationError(
            f"model {name[:80]!r}",
            promised="letters, digits, dots, hyphens and underscores, at most 64",
            mend="name it like credit",
        )


def _with(said: Registration, aliases: tuple[str, ...]) -> Registration:
    return msgspec.structs.replace(said, aliases=(*said.aliases, *aliases))
