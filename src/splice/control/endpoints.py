"""Endpoints become versions: where a model runs is its artifact, kept and hashed as any other."""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from splice.control.registry import Adopted, Registration, Registry
from splice.core.errors import DeclarationError
from splice.core.release import Column, Signature
from splice.core.versions import Endpoint

REMOTE = "remote"
"""The format of a version that is an endpoint."""

DATATYPES = (
    "FP64", "FP32", "FP16", "INT64", "INT32", "INT16", "INT8", "UINT64", "UINT32", "UINT16",
    "UINT8", "BOOL", "BYTES",
)  # fmt: skip

_COLUMN = re.compile(r"(?P<name>[^:\s][^:]*):(?P<datatype>[A-Z0-9]+)(?:\[(?P<shape>[-\d, ]*)\])?")


def column_of(text: str) -> Column:
    """The column of `amount_eur:FP32` (one value a row) or `x:FP32[-1,4]` (one row of a matrix).

    Raises:
        DeclarationError: It is written in another way.
    """
    found = _COLUMN.fullmatch(text.strip())
    if found is None or found["datatype"] not in DATATYPES:
        raise DeclarationError(
            f"column {text[:80]!r}",
            promised=f"NAME:DATATYPE or NAME:DATATYPE[SHAPE] with one of {', '.join(DATATYPES)}",
            mend="write it like amount_eur:FP32, or x:FP32[-1,4]",
        )
    if found["shape"] is None:
        return Column(found["name"], found["datatype"], (-1,))
    try:
        shape = tuple(int(size) for size in found["shape"].split(","))
    except ValueError:
        shape = ()
    if not shape or any(size < -1 or not size for size in shape):
        raise DeclarationError(
            f"column {text[:80]!r}",
            got=f"the shape [{found['shape']}]",
            promised="sizes of 1 and more, the first for the rows; -1 is any",
        )
    return Column(found["name"], found["datatype"], shape)


def artifact_of(endpoint: Endpoint, signature: Signature) -> bytes:
    """What is kept and hashed: the endpoint, with what it read and gave when it was registered.

    Without the latter a model that changed behind its endpoint would still be the same version.
    """
    plain: dict[str, Any] = msgspec.to_builtins(endpoint)
    return msgspec.json.encode(
        {**plain, "signature": msgspec.to_builtins(signature)}, order="sorted"
    )


def register_endpoint(
    registry: Registry,
    name: str,
    endpoint: Endpoint,
    signature: Signature,
    *,
    now_us: int,
    said: Registration,
) -> Adopted:
    """The version of an endpoint: a new number, or the one that it has already.

    Raises:
        DeclarationError: No route could name it, or an alias would move to a version that reads
            or gives something else.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, f"{name[:64].replace('/', '_')}.endpoint.json")
        file.write_bytes(artifact_of(endpoint, signature))
        return registry.register_as(name, file, REMOTE, signature, now_us=now_us, said=said)
