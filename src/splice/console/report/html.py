"""A report as one HTML page: no script, nothing fetched, and made to be printed."""

from __future__ import annotations

from typing import Any

import jinja2
from markupsafe import Markup

from splice.console.report.blocks import Report
from splice.console.report.charts import FONT
from splice.console.report.plain import plain


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
    page = environment.get_template("report.html").render(report=_page_of(report))
    return page.encode("utf-8", "replace")


def _page_of(report: Report) -> dict[str, Any]:
    found = plain(report)
    for section in found["sections"]:
        for block in section["blocks"]:
            if "svg" in block:
                # The page's own face; the document has the chart's. Vega escapes what it draws.
                bare = block["svg"].replace(f'font-family="{FONT}"', "")
                block["svg"] = Markup(bare)  # noqa: S704
    return found
