"""Rows of an example, column by column, and back into the container that an estimator was fed."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal, cast

import numpy as np

from splice.core.errors import DeclarationError

# The frames of three libraries come here by their shape alone; none of them is imported.
Array = np.ndarray[Any, np.dtype[Any]]
Shape = Literal["frame", "matrix", "rows"]
MATRIX = "columns"
"""Name of the one input of a model whose columns have no names."""

ROWS_MOST = 2000


class Table:
    """Columns of equal length: FP64, INT64 or text.

    Args:
        columns: By name. Those of a matrix without names are called 0, 1, ….
        shape: What the example was.
        like: The example itself, or the part of it that says what container to make.
        named: Whether the names mean anything.
    """

    def __init__(
        self, columns: dict[str, Array], shape: Shape, like: Any, *, named: bool = True
    ) -> None:
        self.columns = columns
        self.shape: Shape = shape
        self.like = like
        self.named = named

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns, in order."""
        return tuple(self.columns)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    @property
    def numeric(self) -> bool:
        """Whether every column holds numbers."""
        return all(column.dtype.kind in "fi" for column in self.columns.values())

    def rows(self, single: bool) -> list[dict[str, Any]]:
        """Rows as `context()` would give them; one list a row for a matrix without names."""
        lists = [column.tolist() for column in self.columns.values()]
        if single and not self.named:
            return [{MATRIX: [float(v) for v in row]} for row in zip(*lists, strict=True)]
        return [dict(zip(self.columns, row, strict=True)) for row in zip(*lists, strict=True)]

    def native(self) -> Any:
        """The rows in the container of the example."""
        if self.shape == "matrix":
            made = np.column_stack(list(self.columns.values()))
            kind = getattr(self.like, "dtype", None)
            return made.astype(kind) if kind is not None and kind.kind == "f" else made
        if self.shape == "rows":
            return self._from_rows()
        maker: Any = cast("Any", type(self.like))
        if hasattr(maker, "from_pydict"):  # pyarrow
            return maker.from_pydict(self.columns)
        made = maker(self.columns)
        # pandas: categories and narrow numbers as they were, for an encoder may compare types.
        return made.astype(self.like.dtypes) if hasattr(made, "astype") else made

    def _from_rows(self) -> Any:
        if self.numeric:
            return np.column_stack(list(self.columns.values()))
        try:
            frames: Any = importlib.import_module("pandas")
        except ImportError:
            raise DeclarationError(
                "example", got="dicts with texts in them, without pandas",
                promised="a data frame, as the estimator was trained on",
                mend="hand over some rows of the training frame",
            ) from None  # fmt: skip
        return frames.DataFrame(self.columns)

    def take(self, chosen: Any) -> Table:
        """Some of the rows."""
        columns = {name: column[chosen] for name, column in self.columns.items()}
        return Table(columns, self.shape, self.like, named=self.named)

    def spread(self, count: int) -> Table:
        """So many other rows: each column on its own, within what the example holds.

        Half of the numbers are drawn between the smallest and the largest, half are values of other
        rows; texts are values of other rows. Always the same for the same example.
        """
        draw = np.random.default_rng(20_260_701)
        made: dict[str, Array] = {}
        for name, column in self.columns.items():
            values = draw.choice(column, count)
            if column.dtype.kind in "fi":
                low, high = column.min(), column.max()
                drawn = (
                    draw.uniform(low, high, count)
                    if column.dtype.kind == "f"
                    else draw.integers(low, high, count, endpoint=True)
                )
                values = np.where(draw.random(count) < 0.5, drawn, values)
            made[name] = values
        return Table(made, self.shape, self.like, named=self.named)


def table_of(example: Any, names: Sequence[str] = ()) -> Table:
    """An example as a table. Rows with a missing value are left out: no call may ask them.

    Args:
        example: A data frame of pandas, polars or pyarrow, a matrix [N, F], or a list of dicts.
        names: What the columns of a matrix are called, where the estimator knows it.

    Raises:
        DeclarationError: It is none of these, empty, or holds what no model reads.
    """
    shape, raw, named = _columns(example, names)
    if not raw:
        raise _wrong("no columns")
    columns = {name: _typed(name, values) for name, values in raw.items()}
    if len({len(column) for column in columns.values()}) != 1:
        raise _wrong("columns of different lengths")
    whole = np.ones(len(next(iter(columns.values()))), dtype=bool)
    for column in columns.values():
        whole &= _present(column)
    table = Table(columns, shape, example, named=named).take(np.flatnonzero(whole)[:ROWS_MOST])
    if not len(table):
        raise _wrong("no row without a missing value")
    for name, column in table.columns.items():
        table.columns[name] = _narrowed(name, column)
    return table


def _columns(example: Any, names: Sequence[str]) -> tuple[Shape, dict[str, Any], bool]:
    if hasattr(example, "column_names"):  # pyarrow
        frame = {str(one): example.column(one).to_numpy() for one in example.column_names}
        return "frame", frame, True
    if hasattr(example, "columns"):
        return "frame", {str(one): np.asarray(example[one]) for one in example.columns}, True
    listed: Any = example
    if isinstance(example, (list, tuple)) and listed and isinstance(listed[0], dict):
        rows = cast("Sequence[dict[str, Any]]", listed)
        keys = list(rows[0])
        try:
            return "rows", {str(k): [row[k] for row in rows] for k in keys}, True
        except KeyError as error:
            raise _wrong(f"a row without {error.args[0]}") from None
    try:
        matrix: Array = np.asarray(listed)
    except ValueError:
        raise _wrong("rows of different lengths") from None
    if matrix.ndim != 2:
        raise _wrong(f"{type(listed).__name__} of {matrix.ndim} dimensions")
    width = matrix.shape[1]
    named = len(names) == width
    titles = names if named else [str(i) for i in range(width)]
    return "matrix", {str(t): matrix[:, i] for i, t in enumerate(titles)}, named


def _typed(name: str, values: Any) -> Array:
    column = np.asarray(values)
    if column.ndim != 1 or column.dtype.kind not in "fiubOUST":
        raise _wrong(f"column {name} of {column.dtype}, {column.ndim} dimensions")
    if column.dtype.kind == "f":
        return column.astype(np.float64)
    return column.astype(np.int64) if column.dtype.kind in "iub" else column.astype(object)


def _present(column: Array) -> Array:
    if column.dtype.kind == "f":
        return np.isfinite(column)
    if column.dtype.kind == "i":
        return np.ones(len(column), dtype=bool)
    return np.array([_is_there(one) for one in column.tolist()], dtype=bool)


def _is_there(value: Any) -> bool:
    """Not None, not unlike itself as NaN is, and not pandas' NA, which is neither."""
    try:
        return value is not None and bool(value == value)
    except TypeError:
        return False


def _narrowed(name: str, column: Array) -> Array:
    """Objects that are all numbers become numbers; all others must be texts."""
    if column.dtype.kind != "O":
        return column
    kinds: set[type] = {type(one) for one in cast("list[Any]", column.tolist())}
    if kinds <= {int, bool}:
        return column.astype(np.int64)
    if kinds <= {int, bool, float}:
        return column.astype(np.float64)
    if not all(issubclass(one, str) for one in kinds):
        told = ", ".join(sorted(one.__name__ for one in kinds))
        raise _wrong(f"column {name} with values of {told}")
    return np.array([str(one) for one in column], dtype=object)


def numbers_only(table: Table, where: str) -> None:
    """Refuses columns of texts.

    Raises:
        DeclarationError: There are some.
    """
    texts = [name for name, column in table.columns.items() if column.dtype.kind not in "fi"]
    if texts:
        raise DeclarationError(
            where, got=f"columns of texts: {', '.join(texts[:5])}",
            promised="numbers in every column",
            mend="encode them in a pipeline, for instance with OneHotEncoder",
        )  # fmt: skip


def _wrong(got: str) -> DeclarationError:
    return DeclarationError(
        "example", got=got, promised="a data frame, a matrix [N, F] or a list of dicts",
        mend="hand over some rows that the estimator was trained on",
    )  # fmt: skip
