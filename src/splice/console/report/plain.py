"""A report as JSON values with its charts drawn, for who sets it in type."""

from __future__ import annotations

import re
from typing import Any, cast

import msgspec

from splice.console.report.blocks import Report
from splice.console.report.charts import drawn

# What moves, hides or turns the text around it, and is not seen itself: controls, and marks of
# direction. A report must not say another thing than what was written.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff]"
)
_MOST = 600  # characters of one text: nobody reads more in a table


def plain(report: Report) -> dict[str, Any]:
    """The report as dicts, lists and text.

    Raises:
        SettingsError: vl-convert is not installed.
    """
    found: dict[str, Any] = _seen(msgspec.to_builtins(report))
    for section in found["sections"]:
        for block in section["blocks"]:
            if block["type"] == "chart":
                block["svg"] = drawn(block.pop("spec"))
    return found


def _seen(value: Any) -> Any:
    if isinstance(value, str):
        text = _UNSEEN.sub("\ufffd", value)
        return text if len(text) <= _MOST else f"{text[:_MOST]}…"
    if isinstance(value, dict):
        return {key: _seen(one) for key, one in cast("dict[str, Any]", value).items()}
    if isinstance(value, (list, tuple)):
        return [_seen(one) for one in cast("list[Any]", value)]
    return value
