"""Embeddings: the types of a request, and base64 where a provider gives numbers instead."""

from __future__ import annotations

import array
import base64
import sys
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from splice.core.chat import Asked, Dialect
from splice.core.errors import BadAnswer, InputMismatch
from splice.serve.openai.reading import Whole, fields_of, typed


class EmbeddingsBody(msgspec.Struct, gc=False):
    """The documented fields of an embeddings request; others pass unread."""

    model: str
    input: str | Annotated[list[str | int | list[int]], Meta(min_length=1)]
    dimensions: Whole | None = None
    encoding_format: Literal["float", "base64"] | None = None
    user: str | None = None


class _Embedding(msgspec.Struct, gc=False):
    embedding: str | list[float]
    index: int = 0
    object: str = "embedding"


_decoder = msgspec.json.Decoder(EmbeddingsBody)
_reply = msgspec.json.Decoder(dict[str, msgspec.Raw])
_rows = msgspec.json.Decoder(list[_Embedding])


class AskedEmbeddings(msgspec.Struct, gc=False):
    """Embeddings that were asked for; `in_base64` where they shall come so."""

    asked: Asked
    in_base64: bool


def asked_embeddings(body: bytes, headers: dict[str, str]) -> AskedEmbeddings:
    """What a body asks for.

    Raises:
        RequestError: It is not an embeddings request; `where` is the path of the field.
    """
    fields = fields_of(body)
    request = typed(_decoder, body)
    if isinstance(request.input, list) and len(set(map(type, request.input))) > 1:
        raise InputMismatch(
            "input",
            got="an array of several types",
            promised="strings only, integers only, or arrays of integers only",
        )
    del fields["model"]
    fields.pop("stream", None)
    asked = Asked(
        Dialect.EMBEDDINGS, request.model, False, fields, len(body), output_tokens=0,
        headers=headers,
    )  # fmt: skip
    return AskedEmbeddings(asked, request.encoding_format == "base64")


def in_base64(body: bytes) -> bytes:
    """The same answer with every embedding as base64 of little-endian 32-bit floats.

    llama.cpp and Ollama give arrays of numbers whatever was asked; OpenAI's own clients ask for
    base64 and read it so. An answer that is base64 already comes back as it is.

    Raises:
        BadAnswer: It is no answer to an embeddings request.
    """
    try:
        reply = _reply.decode(body)
        rows = _rows.decode(reply["data"])
        if all(isinstance(row.embedding, str) for row in rows):
            return body
        reply["data"] = msgspec.Raw(msgspec.json.encode([_packed(row) for row in rows]))
        return msgspec.json.encode(reply)
    except (msgspec.DecodeError, KeyError, OverflowError) as error:
        raise BadAnswer("embeddings", got="something else", promised="embeddings") from error


def _packed(row: _Embedding) -> _Embedding:
    if isinstance(row.embedding, str):
        return row
    numbers = array.array("f", row.embedding)
    if sys.byteorder == "big":
        numbers.byteswap()
    return _Embedding(base64.b64encode(numbers.tobytes()).decode(), row.index, row.object)
