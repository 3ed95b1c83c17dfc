"""Rows in files as columns of values: Parquet, CSV and JSONL.

Needs splice-ai[monitor], and pyarrow for Parquet; CSV and JSONL are read without it, only slower.
"""

from __future__ import annotations

import csv
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from splice.core.errors import SettingsError
from splice.core.profiles import Numbers, Profile
from splice.monitor.columns import Column, Seen, columns_of
from splice.monitor.sketches import FEW_VALUES, FEW_WORDS, Floats, numbers_of, word_hash, words_of
from splice.monitor.texts import texts_of
from splice.monitor.values import is_text, may_be_named

FORMATS = (".parquet", ".csv", ".jsonl")
_TEXTS = 5_000
"""So many texts of a column are looked at, evenly spread: each takes some hundredths of a ms."""
_MISSING = ("", "NaN", "nan", "null")
_TRUTHS = {"true": True, "false": False, "True": True, "False": False}


class Values(msgspec.Struct):
    """The values of one column, by type. `numbers` and `lengths` are finite."""

    rows: int
    missing: int = 0
    numbers: Floats | None = None
    not_finite: int = 0
    truths: dict[int, int] = {}
    words: dict[str, int] = {}
    lengths: Floats | None = None


class Table(msgspec.Struct):
    """A file of rows: its columns by name, each read when it is asked for."""

    name: str
    rows: int
    columns: Mapping[str, Callable[[], Values]]
    skipped: tuple[str, ...] = ()  # columns of a type that is not compared


def read(file: Path, words: Sequence[str] = ()) -> Table:
    """The rows of a file. In a CSV, the columns of `words` are words, also where all are numbers.

    Raises:
        SettingsError: It is not there, does not read, or ends in nothing that is known.
    """
    readers: dict[str, Callable[[], Table]] = {
        ".parquet": lambda: _parquet(file),
        ".csv": lambda: _csv(file, words),
        ".jsonl": lambda: _jsonl(file),
    }
    reader = readers.get(file.suffix.lower())
    if reader is None:
        raise SettingsError(
            file.name, got=f"a file ending in {file.suffix or 'nothing'}",
            promised=f"one of {', '.join(FORMATS)}", mend="convert it",
        )  # fmt: skip
    try:
        return reader()
    except (OSError, ValueError, csv.Error) as error:
        raise SettingsError(
            file.name, got=str(error)[:300], promised="a readable file of rows"
        ) from None


def profile_of(values: Values, *, open_words: bool = False) -> Profile:
    """The profile of a column. With `open_words` every word may be named: who has the file asks."""
    profile = Profile(calls=values.rows, missing=values.missing)
    if values.numbers is not None and (len(values.numbers) or values.not_finite):
        profile.numbers = _numbers(values.numbers)
        profile.numbers.not_finite = values.not_finite
    if values.lengths is not None and len(values.lengths):
        profile.lengths = _numbers(values.lengths)
    if values.truths:
        names = {0: "false", 1: "true"}
        profile.truths = words_of(values.truths, names, private=False)
    long = [text for text in values.words if is_text(text)]
    if long:
        every = [text for text in long for _ in range(values.words[text])]
        profile.texts = texts_of(every, most=_TEXTS)
    words = (
        {word: n for word, n in values.words.items() if not is_text(word)} if long else values.words
    )
    if words:
        hashed: Counter[int] = Counter()
        for word, count in words.items():
            hashed[word_hash(word)] += count
        few = len(words) <= FEW_WORDS
        named = {
            word_hash(word): word
            for word, count in words.items()
            if few and (open_words or may_be_named(word, count))
        }
        profile.words = words_of(hashed, named, private=False)
    return profile


def _numbers(numbers: Floats) -> Numbers:
    counts: dict[float, int] | None = None
    if len(numbers) and len(np.unique(numbers[:1000])) <= FEW_VALUES:
        values, often = np.unique(numbers, return_counts=True)
        if len(values) <= FEW_VALUES:
            counts = dict(zip(values.tolist(), often.tolist(), strict=True))
    return numbers_of(numbers[None, :], [counts])[0]


def _parquet(file: Path) -> Table:
    try:
        import pyarrow.parquet as parquet  # an optional dependency
    except ImportError:
        raise SettingsError(
            file.name, got="a Parquet file, and no pyarrow", mend="install splice-ai[parquet]"
        ) from None
    made: Any = parquet  # its stubs leave most types out
    with made.ParquetFile(file) as opened:
        schema, rows = opened.schema_arrow, int(opened.metadata.num_rows)
    names = cast("list[str]", schema.names)

    def column(name: str) -> Callable[[], Values]:
        return lambda: _arrow(made.read_table(file, columns=[name]).column(0))

    kept = [name for name, kind in zip(names, schema.types, strict=True) if _is_known(kind)]
    skipped = tuple(name for name in names if name not in kept)
    return Table(file.name, rows, {name: column(name) for name in kept}, skipped)


def _is_known(kind: Any) -> bool:
    """Whether an Arrow type is one that is compared."""
    import pyarrow as pa  # an optional dependency

    types: Any = pa.types
    inner = kind.value_type if types.is_dictionary(kind) else kind
    tests = (
        "is_integer", "is_floating", "is_decimal", "is_boolean", "is_string", "is_large_string",
        "is_string_view", "is_temporal", "is_null", "is_list", "is_large_list",
    )  # fmt: skip
    return any(getattr(types, test)(inner) for test in tests)


def _arrow(column: Any) -> Values:
    """The values of an Arrow column."""
    import pyarrow as pa  # an optional dependency
    import pyarrow.compute as compute

    pa, compute = cast("Any", pa), cast("Any", compute)  # their stubs leave most types out
    arrow = pa.types
    rows, missing, kind = len(column), int(column.null_count), column.type
    if arrow.is_null(kind):
        return Values(rows, rows)
    if arrow.is_list(kind) or arrow.is_large_list(kind):
        lengths = compute.list_value_length(column).drop_null().to_numpy()
        return Values(rows, missing, lengths=lengths.astype(np.float64))
    inner = kind.value_type if arrow.is_dictionary(kind) else kind
    if arrow.is_boolean(inner) or not (
        arrow.is_integer(inner) or arrow.is_floating(inner) or arrow.is_decimal(inner)
        or arrow.is_temporal(inner)
    ):  # fmt: skip
        counts = {
            one["values"]: int(one["counts"]) for one in compute.value_counts(column).to_pylist()
        }
        counts.pop(None, None)
        if arrow.is_boolean(inner):
            return Values(rows, missing, truths={int(value): n for value, n in counts.items()})
        return Values(rows, missing, words=counts)
    if arrow.is_dictionary(kind):
        column = column.cast(inner)
    if arrow.is_temporal(inner):
        wide = arrow.is_date32(inner) or arrow.is_time32(inner)
        column = column.cast(pa.int32()).cast(pa.int64()) if wide else column.cast(pa.int64())
    if arrow.is_decimal(inner):
        column = column.cast(pa.float64())
    numbers = column.to_numpy().astype(np.float64, copy=False)
    return _finite(rows, numbers)


def _finite(rows: int, numbers: Floats) -> Values:
    """Numbers of which NaN are missing, as data frames write them."""
    finite = np.isfinite(numbers)
    if finite.all():
        return Values(rows, 0, numbers)
    missing = int(np.isnan(numbers).sum())
    return Values(rows, missing, numbers[finite], int(len(numbers) - finite.sum() - missing))


def _csv(file: Path, words: Sequence[str]) -> Table:
    try:
        import pyarrow as pa  # an optional dependency
        import pyarrow.csv as arrow_csv
    except ImportError:
        return _plain_csv(file, words)
    made, string = cast("Any", arrow_csv), cast("Any", pa).string()
    convert = made.ConvertOptions(
        strings_can_be_null=True,
        null_values=list(_MISSING),
        true_values=[text for text, truth in _TRUTHS.items() if truth],
        false_values=[text for text, truth in _TRUTHS.items() if not truth],
        column_types=dict.fromkeys(words, string),
    )
    table = made.read_csv(file, convert_options=convert)
    names = cast("list[str]", table.column_names)
    if len(set(names)) != len(names):
        raise ValueError("a column twice in the header")

    def column(name: str) -> Callable[[], Values]:
        return lambda: _arrow(table.column(name))

    return Table(file.name, int(table.num_rows), {name: column(name) for name in names})


def _plain_csv(file: Path, words: Sequence[str]) -> Table:
    with file.open(newline="", encoding="utf-8-sig") as text:
        reader = csv.reader(text)
        header: list[str] = next(reader, [""])
        rows = [row for row in reader if row]
    if len(set(header)) != len(header):
        raise ValueError("a column twice in the header")
    if any(len(row) != len(header) for row in rows):
        raise ValueError("a row with more or fewer values than the header has names")
    columns = {
        name: _typed([row[place] for row in rows], words=name in words)
        for place, name in enumerate(header)
    }
    return _table(file, len(rows), columns)


def _typed(texts: Sequence[str], *, words: bool) -> Column:
    """Texts as what all of them can be: numbers, truths, else texts; empty ones are missing."""
    kept = {text for text in texts if text not in _MISSING}
    if words:
        return [text if text in kept else None for text in texts]
    if kept <= _TRUTHS.keys():
        return [_TRUTHS.get(text) for text in texts]
    try:
        read: dict[str, Any] = {text: float(text) for text in kept}
    except ValueError:
        read = {text: text for text in kept}
    return [read.get(text) for text in texts]


def _jsonl(file: Path) -> Table:
    decode = msgspec.json.Decoder().decode
    with file.open("rb") as raw:
        rows = [decode(line) for line in raw if line.strip()]
    if not all(isinstance(row, dict) for row in rows):
        raise ValueError("a line that is no JSON object")
    columns = columns_of([Seen(cast("dict[str, Any]", row), None, None) for row in rows])
    return _table(file, len(rows), {name: one for name, one in columns.items() if name != "*"})


def _table(file: Path, rows: int, columns: Mapping[str, Column]) -> Table:
    def column(values: Column) -> Callable[[], Values]:
        return lambda: of_list(values)

    return Table(file.name, rows, {name: column(values) for name, values in columns.items()})


def of_list(values: Column) -> Values:
    """The values of a column of JSON values."""
    numbers = [_double(v) for v in values if type(v) is float or type(v) is int]
    found = _finite(len(values), np.array(numbers, np.float64))
    found.missing += sum(value is None for value in values)
    found.truths = dict(Counter(int(value) for value in values if type(value) is bool))
    found.words = dict(Counter(value for value in values if type(value) is str))
    lengths = [len(cast("list[Any]", value)) for value in values if type(value) is list]
    found.lengths = np.array(lengths, np.float64)
    return found


def _double(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf
