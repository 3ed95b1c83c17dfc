"""A report as one HTML page: no script, nothing fetched, and made to be printed."""

from __future__ import annotations

from typing import Any

import jinja2
import msgspec
from markupsafe import Markup

from splice.console.report.blocks import Report
from splice.console.report.charts import FONT, apart, drawn


def as_html(report: Report) -> bytes:
    """The page in UTF-8. Every text is escaped, whoever wrote it.

    Raises:
        SettingsError: vl-convert is not installed.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("splice.console.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page = environment.get_template("report.html").render(report=plain(report))
    return page.encode("utf-8", "replace")


def plain(report: Report) -> dict[str, Any]:
    """The report as JSON values, its charts drawn; drawings are marked as safe to put in a page."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    number = 0
    for section in found["sections"]:
        for block in section["blocks"]:
            if block["type"] == "chart":
                number += 1
                svg = apart(drawn(block.pop("spec")), f"chart{number}")
                # The page's own face; the document has the chart's.
                block["svg"] = Markup(svg.replace(f'font-family="{FONT}"', ""))  # noqa: S704
    return found
