"""What `/invocations` reads and writes: JSON, JSON Lines and CSV, to and from the rows of calls."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, cast

import msgspec

from splice.core.errors import InputMismatch, MalformedBody, UnsupportedMediaType
from splice.declare.bodies import malformed, refuse_deep, refuse_duplicate_keys
from splice.engine.line import Line
from splice.serve.oip.forms import Form

Shape: TypeAlias = Literal["one", "list", "instances"]
"""How the rows came in JSON: one object, a list of them, or `{"instances": [...]}`."""

JSON, LINES, CSV = "application/json", "application/jsonlines", "text/csv"
_NAMES = {
    JSON: JSON, "application/x-json": JSON, LINES: LINES, "application/x-jsonlines": LINES,
    "application/jsonl": LINES, "application/x-ndjson": LINES, CSV: CSV, "application/csv": CSV,
}  # fmt: skip
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Rows(msgspec.Struct):
    """The rows of a request: one JSON body each, and how they came."""

    bodies: list[bytes]
    format: str
    shape: Shape = "list"


def format_of(content_type: str, where: str) -> str:
    """The format that a content type means.

    Raises:
        UnsupportedMediaType: It is none of the three.
    """
    media = content_type.partition(";")[0].strip().lower() or JSON
    found = _NAMES.get(media)
    if found is None:
        raise UnsupportedMediaType(
            where,
            got=media[:100],
            promised=f"{JSON}, {LINES} or {CSV}",
            mend="send one of them, and say so in Content-Type",
        )
    return found


def accepted(accept: str, asked: str) -> str:
    """The format that a caller wants back; the one that he sent where he does not say.

    Raises:
        UnsupportedMediaType: He wants only what nobody writes here.
    """
    wanted = [part.partition(";")[0].strip().lower() for part in accept.split(",")]
    wanted = [one for one in wanted if one]
    if not wanted or any(one in ("*/*", "application/*") for one in wanted):
        return asked
    for one in wanted:
        if one in _NAMES:
            return _NAMES[one]
    raise UnsupportedMediaType(
        "Accept", got=", ".join(wanted)[:100], promised=f"{JSON}, {LINES} or {CSV}"
    )


def read(body: bytes, format: str, line: Line, form: Form, most: int) -> Rows:  # noqa: A002
    """The rows of a request.

    Args:
        body: The whole body.
        format: What it is written in.
        line: The integration that is asked.
        form: Its fields.
        most: Rows, at most.

    Raises:
        MalformedBody: It is not of the format.
        InputMismatch: There are no rows, or too many; or a header of CSV names an unknown field.
    """
    where = line.where
    if format == CSV:
        rows = Rows(_read_csv(body, line, form, most), CSV)
    elif format == LINES:
        lines = [one for one in body.splitlines() if one.strip()]
        rows = Rows([_checked_json(one, f"{where}[{at}]") for at, one in enumerate(lines)], LINES)
    else:
        rows = _read_json(body, where)
    if not rows.bodies:
        raise InputMismatch(where, got="no rows", promised="at least one")
    if len(rows.bodies) > most:
        raise InputMismatch(
            where,
            got=f"{len(rows.bodies)} rows",
            promised=f"at most {most} rows",
            mend="send them in several requests, or raise oip.max_rows",
        )
    return rows


_raw_list = msgspec.json.Decoder(list[msgspec.Raw]).decode
_raw_instances = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


def _read_json(body: bytes, where: str) -> Rows:
    start = body.lstrip()[:1]
    try:
        if start == b"[":
            _checked_json(body, where)
            return Rows([bytes(one) for one in _raw_list(body)], JSON)
        if start == b"{" and b'"instances"' in body[:4096]:
            fields = _raw_instances(body)
            if fields.keys() == {"instances"} and bytes(fields["instances"]).startswith(b"["):
                _checked_json(body, where)
                rows = _raw_list(fields["instances"])
                return Rows([bytes(one) for one in rows], JSON, "instances")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, where) from None
    return Rows([body], JSON, "one")  # the request type reads it, and says what is wrong


def _checked_json(body: bytes, where: str) -> bytes:
    """The same JSON, whose rows can be taken apart: one that its readers all read alike.

    Raises:
        MalformedBody: It is not.
    """
    try:
        msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error, where) from None
    refuse_deep(body, where)
    refuse_duplicate_keys(body, where)
    return body


def _read_csv(body: bytes, line: Line, form: Form, most: int) -> list[bytes]:
    """One body a line: by a header's names, or in the order of the request's fields without one."""
    where, names = line.where, list(form.inputs)
    try:
        # The newlines stay as they came: one in quotes is a part of its cell.
        table = io.StringIO(body.decode("utf-8-sig"), newline="")
    except UnicodeDecodeError:
        raise MalformedBody(
            where, got="bytes that are not UTF-8", promised="CSV in UTF-8"
        ) from None
    columns: list[str] | None = None
    bodies: list[bytes] = []
    try:
        for cells in csv.reader(table, strict=True):
            if not cells:
                continue
            if columns is None:
                is_header = _is_header(cells, names)
                columns = [one.strip() for one in cells] if is_header else names[: len(cells)]
                if is_header:
                    continue
            if len(bodies) > most:
                break  # enough to be refused
            bodies.append(_row_of(cells, columns, line, form, f"{where}[{len(bodies)}]"))
    except csv.Error as error:
        raise MalformedBody(
            f"{where}[{len(bodies)}]", got=f"no CSV: {error}", promised="RFC 4180"
        ) from None
    return bodies


def _is_header(cells: list[str], names: list[str]) -> bool:
    """Whether the first line names fields: one is known, and no other could be a number."""
    named = [one.strip() for one in cells]
    return any(one in names for one in named) and not any(_is_number(one) for one in named)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _row_of(cells: list[str], columns: list[str], line: Line, form: Form, where: str) -> bytes:
    """The body of a line. An empty cell is a field that is left out."""
    if len(cells) != len(columns):
        raise InputMismatch(
            where,
            got=f"{len(cells)} cells",
            promised=f"{len(columns)}: {', '.join(columns)}"[:300],
        )
    row: dict[str, Any] = {}
    for name, cell in zip(columns, cells, strict=True):
        field = form.inputs.get(name)
        if cell != "":
            is_json = field is not None and (field.vector or field.kind == "json")
            row[name] = _value(cell, f"{where}.{name}") if is_json else cell
    return line.request.encode(line.request.lax(row, where))


def _value(cell: str, where: str) -> Any:
    try:
        return msgspec.json.decode(cell)
    except (msgspec.DecodeError, RecursionError) as error:
        raise malformed(error, where) from None


def write(replies: Sequence[bytes], rows: Rows, format: str) -> bytes:  # noqa: A002
    """The replies in a format, shaped as the rows came: one object for one, a list for a list."""
    if format == LINES:
        return b"".join([reply + b"\n" for reply in replies])
    if format == CSV:
        return _write_csv(replies)
    if rows.shape == "one":
        return replies[0]
    joined = b"[" + b",".join(replies) + b"]"
    return b'{"predictions":' + joined + b"}" if rows.shape == "instances" else joined


def _write_csv(replies: Sequence[bytes]) -> bytes:
    """A line a reply, without a header, as SageMaker's own containers answer."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for reply in replies:
        value = msgspec.json.decode(reply)
        cells = cast("dict[str, Any]", value).values() if isinstance(value, dict) else [value]
        writer.writerow([_cell(one) for one in cells])
    return text.getvalue().encode()


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else _encode(value).decode()
