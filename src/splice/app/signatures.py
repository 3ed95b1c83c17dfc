"""Signatures of model files by a project's settings: who signs, and what is refused without."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from splice.app.settings import Settings
from splice.core.errors import ModelUnavailable, SettingsError
from splice.core.release import ModelVersion
from splice.ports.stores import ModelStore

SUFFIX = ".sig"


def signature_of(file: Path) -> Path:
    """Where the signature of an artifact lies: beside it."""
    return file.with_name(file.name + SUFFIX)


def library() -> Any:  # the module, whose import takes seconds
    """What signs and verifies.

    Raises:
        SettingsError: It is not installed.
    """
    try:
        from splice.adapters.signing import oms
    except ImportError as error:
        raise SettingsError(
            "models.require_signature", got=str(error), mend="install splice-ai[signing]"
        ) from None
    return oms


def public_key_of(settings: Settings) -> Path | None:
    """The key that signatures are checked with; None where none is set."""
    named = settings.models.public_key
    return settings.path(named) if named else None


def verifier_of(settings: Settings, models: ModelStore) -> Callable[[ModelVersion], str] | None:
    """Says why a version's signature does not hold, or nothing; None where no key is set."""
    key = public_key_of(settings)
    if key is None:
        return None

    def check(version: ModelVersion) -> str:
        try:
            file = models.file(version.sha256)
            library().verify(file, signature_of(file), key)
        except (ModelUnavailable, SettingsError) as error:
            return error.got
        return ""

    return check


class SignedModels:
    """A ModelStore that gives no file away whose signature does not hold.

    Args:
        models: The ledger's.
        key: The public key.
    """

    def __init__(self, models: ModelStore, key: Path) -> None:
        self._models = models
        self._key = key
        self.add_model = models.add_model
        self.resolve = models.resolve
        self.models = models.models
        self.aliases = models.aliases
        self.set_alias = models.set_alias
        self.alias_history = models.alias_history
        self.withdraw = models.withdraw
        self.withdrawn = models.withdrawn

    def file(self, sha256: str) -> Path:
        """Where the bytes are.

        Raises:
            ModelUnavailable: The file is gone, has another hash, or no signature that holds.
            SettingsError: The key cannot be read, or the library is not installed.
        """
        file = self._models.file(sha256)
        library().verify(file, signature_of(file), self._key)
        return file


def loaded_models(settings: Settings, models: ModelStore) -> ModelStore:
    """The store that models are loaded from.

    Raises:
        SettingsError: Signatures are required, and no key is named to check them with.
    """
    if not settings.models.require_signature:
        return models
    key = public_key_of(settings)
    if key is None:
        raise SettingsError(
            "models.public_key", got="none", promised="the key that signatures are checked with",
            mend="name its PEM file, for models.require_signature is on",
        )  # fmt: skip
    return SignedModels(models, key)
