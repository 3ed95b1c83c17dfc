"""The page of a report in a real browser: readable by everybody, at any width, and silent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from report_house import empty, figures

from splice.console.report.content import report_of
from splice.console.report.html import as_html

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000  # on a busy machine
_RULES = "['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']"


@pytest.mark.parametrize("month", ["full", "empty"])
def test_a_report_shuts_nobody_out_and_fits_a_phone(
    browser: Any, chromium_at: Any, tmp_path: Path, month: str
) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(as_html(report_of(figures() if month == "full" else empty())))
    script = Path(chromium_at.axe).read_text("utf-8")
    said: list[str] = []
    for width in (390, 1280):
        page = browser.new_page(viewport={"width": width, "height": 900})
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("request", lambda request: said.append(request.url))

        page.goto(file.as_uri(), timeout=PATIENCE_MS)
        found = page.evaluate(
            f"async () => {{ {script}; return await axe.run(document, "
            f"{{resultTypes: ['violations'], runOnly: {_RULES}}}); }}"
        )
        wide = page.evaluate("document.documentElement.scrollWidth")
        page.close()

        wrong = [(one["id"], node["html"]) for one in found["violations"] for node in one["nodes"]]
        assert wrong == []
        assert wide <= width
    assert set(said) == {file.as_uri()}
