"""Paging: numbers in addresses, and pages of what a visitor may see."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")

ROWS = 50
_LOOKED = 20
"""Pages of the ledger that are looked at for one of ours: a visitor may see few of them."""


def number_of(text: str) -> int | None:
    """The number of a row; None where it is none that there could be."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def seen(
    below: Callable[[int | None], Sequence[T]],
    number: Callable[[T], int],
    may_see: Callable[[T], bool],
    before: int | None,
) -> list[T]:
    """A page of rows that a visitor may see, and one more where there are more.

    Args:
        below: The next `ROWS + 1` rows before a number, newest first.
        number: Of a row.
        may_see: Whether a row is his to see.
        before: Where the page begins.
    """
    found: list[T] = []
    for _ in range(_LOOKED):
        page = below(before)
        found += [one for one in page if may_see(one)]
        if len(page) <= ROWS or len(found) > ROWS:
            break
        before = number(page[-1])
    return found[: ROWS + 1]
