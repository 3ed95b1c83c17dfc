"""`splice audit prove|check-proof|export`: what others can check without the ledger."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated, Any, cast

import msgspec
import typer

from splice.app import auditing
from splice.app.clock import now_us
from splice.app.settings import Settings
from splice.cli.common import REFUSED, out, stores, talk
from splice.control.signing import is_signed
from splice.core.proofs import CallProof, proof_of, signed_head
from splice.serve.http.desk import iso

_Out = Annotated[Path | None, typer.Option("--out", help="File to write; stdout if left out.")]


def prove(
    call_id: Annotated[str, typer.Argument(metavar="CALL", help="Id of the call.")],
    to: _Out = None,
    texts: Annotated[
        bool, typer.Option(help="With what was asked and answered, as the ledger has it.")
    ] = False,
) -> None:
    """Prove that a call was recorded just so: its leaf, the path to the root, the signed head."""
    with stores() as (settings, opened):
        proof = auditing.proved(settings, opened, call_id, now_us(), texts=texts)
    body = msgspec.json.format(msgspec.json.encode(proof)) + b"\n"
    if to is None:
        sys.stdout.write(body.decode())
    else:
        to.write_bytes(body)


def check_proof(
    file: Annotated[Path, typer.Argument(help="File that splice audit prove wrote.")],
    public_key: Annotated[
        Path, typer.Option("--public-key", help="File with the public key of the ledger.")
    ],
) -> None:
    """Check a proof. It needs no ledger and no project; exit code 1 where it does not hold."""
    key = auditing.public_key_of(Settings(), public_key)
    try:
        proof = proof_of(file.read_bytes())
        note = signed_head(proof)
    except (ValueError, OSError) as error:
        talk.print(f"The proof does not hold: {error}.", style="red")
        raise typer.Exit(REFUSED) from None
    if key is None or not is_signed(note, key):
        talk.print("The proof does not hold: its head is not signed by that key.", style="red")
        raise typer.Exit(REFUSED)
    call = proof.call
    out.print(
        f"Call {call.call_id} of {call.integration} was recorded: {call.status} ({call.reason}) by "
        f"release {call.release}, {call.version or call.route or 'no route'}."
    )
    out.print(
        f"Leaf {proof.index} of {proof.size}, under head {note.head.number} of {note.head.origin}, "
        f"signed {iso(note.head.at_us)}."
    )
    _show_texts(proof)


def _show_texts(proof: CallProof) -> None:
    if proof.texts is None:
        return
    try:
        fields = msgspec.msgpack.decode(base64.b64decode(proof.texts.item)[1:])
    except (msgspec.MsgspecError, ValueError):
        return
    values = cast("list[Any]", fields)
    for name, place in (("input", 0), ("reply", 5)):
        if isinstance(values[place], bytes) and values[place]:
            out.print(f"{name}: {values[place].decode('utf-8', 'replace')}")


def export_(to: _Out = None) -> None:
    """Write what verifies without the ledger: heads, events, and the leaf of each call.

    JSON lines. Leaves hold no texts and no entities, only their digests. It is checked by
    `splice audit verify --export FILE --public-key FILE`.
    """
    with stores() as (settings, opened):
        if to is None:
            for line in auditing.exported(settings, opened):
                sys.stdout.write(line.decode())
            return
        beside = to.with_name(f".{to.name}.new")
        try:
            with beside.open("wb") as file:
                file.writelines(auditing.exported(settings, opened))
            beside.replace(to)
        finally:
            beside.unlink(missing_ok=True)
