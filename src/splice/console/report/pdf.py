"""A report as PDF, set by Typst."""

from __future__ import annotations

from datetime import UTC, datetime
from importlib.resources import files

import msgspec

from splice.console.report.blocks import Report
from splice.console.report.plain import plain
from splice.core.errors import SettingsError

_TEMPLATE = "report.typ"


def as_pdf(report: Report) -> bytes:
    """The document, tagged for screen readers; the same report gives the same bytes.

    Texts reach the template as values, never as its source: none of them can be a command. The
    faces are those that come with Typst; signs that they lack are taken from the system's.

    Raises:
        SettingsError: typst or vl-convert is not installed.
    """
    try:
        import typst  # an optional dependency
    except ImportError as error:
        raise SettingsError("report", got=str(error), mend="install splice-ai[report]") from error
    source = files("splice.console.report").joinpath(_TEMPLATE).read_bytes()
    return typst.compile(
        source,
        format="pdf",
        sys_inputs={"report": msgspec.json.encode(plain(report)).decode()},
        timestamp=datetime.fromtimestamp(report.made_us // 1_000_000, UTC),
    )
