"""`splice models sign`: a signature beside the artifact, by the holder of a key."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated

import typer

from splice.app.clock import now_us
from splice.app.settings import named_variable, user_name
from splice.app.signatures import library, signature_of
from splice.cli.cards import version_of
from splice.cli.common import out, stores


def sign(
    ref: Annotated[str, typer.Argument(help="NAME@VERSION or NAME@ALIAS.")],
    key: Annotated[
        Path,
        typer.Option(help="Private key of an elliptic curve, PEM.", exists=True, dir_okay=False),
    ],
    password_env: Annotated[
        str, typer.Option(help="Variable with the password of the key, where it has one.")
    ] = "",
    why: Annotated[str, typer.Option(help="Reason; it is in the audit log.")] = "",
) -> None:
    """Sign a version's file, in the OpenSSF Model Signing format.

    The signature lies beside the artifact; splice models verify checks it.
    """
    password = named_variable(password_env) if password_env else None
    with stores() as (_, opened):
        version = version_of(opened, ref)
        file = opened.models.file(version.sha256)
        signature = signature_of(file)
        library().sign(file, signature, key, password)
        sha256 = hashlib.sha256(signature.read_bytes()).hexdigest()
        opened.audit.add_event(
            "model.sign", version.label, by=user_name(), now_us=now_us(), why=why,
            details={"sha256": version.sha256, "signature_sha256": sha256},
        )  # fmt: skip
    out.print(f"{version.label} is signed: {signature}")
