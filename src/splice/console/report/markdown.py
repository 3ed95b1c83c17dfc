"""A report as Markdown: tables and sentences, every text of it as text."""

from __future__ import annotations

import re

from splice.console.report.blocks import Block, Chart, Notice, Report, Table, Text, Tiles

_SPECIAL = re.compile(r"([\\`*_\[\]<>|#~])")


def as_markdown(report: Report) -> bytes:
    """The document in UTF-8. Charts are left out: what they tell stands there."""
    lines = [f"# {_text(report.title)}", ""]
    if report.subtitle:
        lines += [_text(report.subtitle), ""]
    lines += [f"- {_text(name)}: {_text(value)}" for name, value in report.facts]
    lines.append("")
    for sentence in report.summary:
        lines += [_text(sentence), ""]
    for section in report.sections:
        lines += [f"## {_text(section.title)}", ""]
        if section.lead:
            lines += [_text(section.lead), ""]
        for block in section.blocks:
            lines += [*_block(block), ""]
    lines += ["---", "", _text(report.footer), ""]
    return "\n".join(lines).encode("utf-8", "replace")


def _text(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def _block(block: Block) -> list[str]:
    if isinstance(block, Text):
        return [_text(block.text)]
    if isinstance(block, Notice):
        return [f"> **Note:** {_text(block.text)}"]
    if isinstance(block, Tiles):
        return [
            f"- {_text(one.label)}: {_text(one.value)} {_text(one.note)}" for one in block.tiles
        ]
    if isinstance(block, Chart):
        return [f"{_text(block.title)}: {_text(block.told)}"]
    return _table(block)


def _table(block: Table) -> list[str]:
    lines = [f"### {_text(block.caption)}", ""]
    if not block.rows:
        return [*lines, _text(block.empty)]
    titles = [_text(column.title) or " " for column in block.columns]
    marks = ["---:" if column.right else "---" for column in block.columns]
    lines += [f"| {' | '.join(titles)} |", f"| {' | '.join(marks)} |"]
    return lines + [f"| {' | '.join(_text(cell) or ' ' for cell in row)} |" for row in block.rows]
