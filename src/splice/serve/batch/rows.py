"""Rows: requests in a stable order, wherever they come from."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import msgspec
from msgspec import UNSET, UnsetType

from splice.core.errors import EventError, RequestError, SettingsError
from splice.declare.codec import Codec


class Row(msgspec.Struct, frozen=True):
    """One row: its number from 0, its request as JSON, or what is wrong with it.

    `done` is how much of the input has been read, from 0 to 1. `key` names the row in its source,
    where that has names for rows; elsewhere its number does.
    """

    number: int
    body: bytes
    done: float
    wrong: EventError | RequestError | None = None
    key: int | str | None = None

    @property
    def name(self) -> int | str:
        """What it is called in every run."""
        return self.number if self.key is None else self.key


class Input(msgspec.Struct, frozen=True):
    """What there is to read, as it was when a job began.

    Two are `alike` where a job that was cut short may go on; `bounds` are its first run's.
    """

    name: str
    size: int
    digest: str
    bounds: Any | UnsetType = UNSET  # JSON, of whatever form the source wants

    def alike(self, other: Input) -> bool:
        """Whether a job over the one may go on over the other."""
        return (self.name, self.size, self.digest) == (other.name, other.size, other.digest)


class Last(msgspec.Struct, frozen=True):
    """The last row that is done with."""

    number: int
    key: int | str | None = None


class Rows(Protocol):
    """Where rows come from: each of them once, in the same order in every run.

    All of it blocks. A row has the same `key`, or else the same number, in every run: by it its
    call is known again.
    """

    name: str
    """For people, in errors: no credentials."""

    @property
    def keys_are_numbers(self) -> bool:
        """Whether whole numbers name its rows; otherwise texts."""
        ...

    def begin(self) -> Input:
        """What there is to read now; kept as the job's, in clear text.

        Raises:
            SettingsError: It cannot be read, or not in an order.
        """
        ...

    def read(self, begun: Input, after: Last | None) -> Iterator[Row]:
        """The rows of an input, behind a last one.

        Raises:
            SettingsError: It cannot be read, or its columns are not the request's.
            StoreError: It cannot be read now.
            BusError: The same of a stream.
        """
        ...

    def end(self, begun: Input) -> None:
        """After the last row: passes an input that stayed as it was promised to.

        Raises:
            SettingsError: It did not.
        """
        ...


def request_schema(request: Codec) -> dict[str, Any]:
    """The JSON Schema of the object that a request is."""
    schema = request.schema()
    if "$ref" in schema:
        schema = schema["$defs"][schema["$ref"].rpartition("/")[2]]
    return schema


def names_of(request: Codec) -> list[str]:
    """The fields of a request as rows name them."""
    return list(request_schema(request).get("properties", {}))


def check_columns(
    where: str, columns: Sequence[str], request: Codec, *, extra_is_fine: bool
) -> None:
    """Passes columns that are the request's.

    One that does not fit is a mistake of the whole input, not one of each of its rows.

    Raises:
        SettingsError: They are not.
    """
    names = names_of(request)
    extra = [name for name in columns if name not in names]
    if extra and not extra_is_fine:
        raise SettingsError(
            where, got=f"columns that the request has not: {', '.join(extra)[:300]}",
            promised=f"columns among {', '.join(names)}",
            mend="leave them out with --ignore-extra, or declare them",
        )  # fmt: skip
    lacking = [name for name in request_schema(request).get("required", ()) if name not in columns]
    if lacking:
        raise SettingsError(
            where, got=f"no column {', '.join(lacking)}",
            promised="every field that the request needs", mend="add it to the input",
        )  # fmt: skip


def is_broken(text: str) -> bool:
    """Whether it holds bytes that are not UTF-8 (they were read as lone surrogates)."""
    if text.isascii():
        return False
    try:
        text.encode()
    except UnicodeEncodeError:
        return True
    return False
