"""Model files become numbered versions; an alias says which one a route means."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import msgspec

from splice.core.errors import DeclarationError, ModelUnavailable
from splice.core.release import ModelVersion, Signature
from splice.ports.runtimes import ModelRuntime
from splice.ports.stores import ModelStore

CHAMPION = "champion"
"""The alias that a route means when it names none."""


_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,63}")


class Adopted(msgspec.Struct, frozen=True):
    """A version, and whether it is new."""

    version: ModelVersion
    is_new: bool


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

    def register(
        self, name: str, file: Path, *, now_us: int, aliases: tuple[str, ...] = ()
    ) -> Adopted:
        """The version of a file: a new number, or the one that these bytes have already.

        Raises:
            DeclarationError: No route could name it.
            ModelUnavailable: It is not a model that can be loaded.
        """
        if not _NAME.fullmatch(name):
            raise DeclarationError(
                f"model {name[:80]!r}",
                promised="letters, digits, dots, hyphens and underscores, at most 64",
                mend="name it like credit",
            )
        prospect = self._prospect(name, file, now_us)
        kept = self._models.add_model(name, file, prospect.version, aliases=aliases)
        return Adopted(kept, prospect.is_new)

    def _prospect(self, name: str, file: Path, now_us: int) -> Adopted:
        """The version that a file is, or would become; nothing is kept."""
        known = self.known(name, file)
        if known is not None:
            return Adopted(known, is_new=False)
        signature = self.inspect(file)
        raw = file.read_bytes()
        version = ModelVersion(
            name=name,
            version=1 + max((one.version for one in self._models.models(name)), default=0),
            sha256=hashlib.sha256(raw).hexdigest(),
            size=len(raw),
            format="onnx",
            signature=signature,
            created_us=now_us,
            source=file.name,
        )
        return Adopted(version, is_new=True)

    def inspect(self, file: Path) -> Signature:
        """The signature of a file.

        Raises:
            ModelUnavailable: It is not a model that can be loaded.
        """
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

    def promote(self, name: str, version: int) -> None:
        """Let the champion be a version that a release was just made of."""
        self._models.set_alias(name, CHAMPION, version)

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
