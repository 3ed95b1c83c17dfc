"""Signatures of model files and folders in the OpenSSF Model Signing format."""

# The library types paths by a class without its parameter.
# pyright: reportUnknownMemberType=false

from __future__ import annotations

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from model_signing import hashing, signing, verifying

from splice.core.errors import ModelUnavailable, SettingsError


def sign(target: Path, signature: Path, private_key: Path, password: str | None = None) -> None:
    """Sign a file, or a folder with all that is in it, with a key of an elliptic curve (PEM).

    Raises:
        SettingsError: The key cannot be used.
    """
    with _quiet():
        try:
            config = signing.Config()
            if target.is_dir():
                config.set_hashing_config(_all_but(signature))
            config.use_elliptic_key_signer(private_key=private_key, password=password)
            config.sign(target.resolve(), signature)
        except (ValueError, TypeError, OSError) as error:
            raise SettingsError(
                str(private_key), got=_said(error), promised="an elliptic-curve key in PEM",
                mend="openssl ecparam -name prime256v1 -genkey -noout -out key.pem",
            ) from None  # fmt: skip


def verify(target: Path, signature: Path, public_key: Path) -> None:
    """Check a signature.

    Raises:
        ModelUnavailable: There is none, it is of another key, or what was signed was changed.
        SettingsError: The key cannot be read.
    """
    if not public_key.is_file():
        raise SettingsError("models.public_key", got=f"no file {public_key}", promised="PEM")
    if not signature.is_file():
        raise ModelUnavailable(target.name[:12], got="no signature", mend="splice models sign")
    with _quiet():
        try:
            config = verifying.Config()
            if target.is_dir():
                config.set_hashing_config(_all_but(signature))
            config.use_elliptic_key_verifier(public_key=public_key)
            config.verify(target.resolve(), signature)
        except Exception as error:  # noqa: BLE001 - whatever a bent signature raises, it does not hold
            raise ModelUnavailable(
                target.name[:12], got=f"a signature that does not hold: {_said(error)}",
                mend="find out who changed the file; splice models verify names all",
            ) from None  # fmt: skip


def _all_but(signature: Path) -> hashing.Config:
    """All of a folder counts, but for the signature itself."""
    return hashing.Config().set_ignored_paths(paths=[signature.resolve()], ignore_git_paths=False)


def _said(error: BaseException) -> str:
    return (str(error) or type(error).__name__).partition("\n")[0][:120]


@contextmanager
def _quiet() -> Generator[None]:
    """The library leaves a file for the collector to close, which is no fault of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        yield
