"""What a report is made of: sections of sentences, figures, tables and charts.

Everything is plain text, whoever wrote it: who renders it must treat it as text.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import msgspec

Tone = Literal["", "good", "bad", "care"]


class Text(msgspec.Struct, frozen=True, tag="text"):
    """A paragraph."""

    text: str


class Notice(msgspec.Struct, frozen=True, tag="notice"):
    """A sentence that must not be overlooked."""

    text: str
    tone: Tone = "care"


class Tile(msgspec.Struct, frozen=True):
    """One figure, large: what it is, what it comes to, and what to know of it."""

    label: str
    value: str
    note: str = ""
    tone: Tone = ""


class Tiles(msgspec.Struct, frozen=True, tag="tiles"):
    """Figures side by side."""

    tiles: tuple[Tile, ...]


class Column(msgspec.Struct, frozen=True):
    """A column of a table; numbers stand right."""

    title: str
    right: bool = False
    wide: bool = False  # takes the room that is left


class Table(msgspec.Struct, frozen=True, tag="table"):
    """Rows of text below a caption; `empty` is said where there are none."""

    caption: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[str, ...], ...]
    empty: str = "None."


class Chart(msgspec.Struct, frozen=True, tag="chart"):
    """A Vega-Lite spec with its data; `told` is what a person hears who cannot see it."""

    title: str
    told: str
    spec: dict[str, Any]


Block: TypeAlias = Text | Notice | Tiles | Table | Chart


class Section(msgspec.Struct, frozen=True):
    """One theme; `lead` is what a hurried reader takes from it."""

    title: str
    lead: str
    blocks: tuple[Block, ...] = ()


class Report(msgspec.Struct, frozen=True):
    """A report on one integration. `made_us` is what it is as of, in Unix microseconds."""

    title: str
    subtitle: str
    facts: tuple[tuple[str, str], ...]
    summary: tuple[str, ...]  # sentences
    tiles: Tiles
    sections: tuple[Section, ...]
    made_us: int
    footer: str = ""
