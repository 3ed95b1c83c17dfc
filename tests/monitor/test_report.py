"""Reports: the page and the document tell the same figures, and text in them is only text."""

from __future__ import annotations

import io
import re
import sys
from html.parser import HTMLParser
from typing import Any

import msgspec
import pypdf
import pytest
from report_house import MONTH, WINDOW, empty, figures, manifest, totals

from splice.console.report.charts import drawn
from splice.console.report.content import report_of
from splice.console.report.html import as_html
from splice.console.report.pdf import as_pdf
from splice.core.audit import AuditEvent
from splice.core.errors import SettingsError
from splice.core.rollups import Part
from splice.monitor.reporting import MonthFigures


class Page(HTMLParser):
    """What a browser makes of a page: its elements, attributes and text."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.ids: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        self.ids += [value or "" for name, value in attrs if name == "id"]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def document(made: bytes) -> tuple[pypdf.PdfReader, str]:
    reader = pypdf.PdfReader(io.BytesIO(made))
    text = " ".join(page.extract_text() for page in reader.pages).replace("\u200b", "")
    return reader, " ".join(text.split())


@pytest.fixture(scope="module")
def full() -> MonthFigures:
    return figures()


@pytest.fixture(scope="module")
def page(full: MonthFigures) -> bytes:
    return as_html(report_of(full))


@pytest.fixture(scope="module")
def pdf(full: MonthFigures) -> bytes:
    return as_pdf(report_of(full))


TOLD = [
    "fraud-screening: October 2026",
    "Stop card fraud before a payment is authorised",
    "days of Europe/Berlin",
    "2026-12-11",  # as known on: forty days after the month
    "1,284,200 calls (+13 % on September 2026)",
    "0.93 %",
    "95 % interval 0.89 % to 0.98 %",
    "1.20 % of payments",
    "EUR 913.40",
    "EUR 411.00 to EUR 1,420",
    "Caused by the AI. 5 % of the cards were held out at random",
    "EUR 656.30",
    "EUR 269.68",
    "EUR 0.21 for 1,000 calls",
    "EUR 0.219 for 1,000 calls",  # whose outcome is known
    "EUR 0.0235 a call",  # of which it came true
    "chargeback_rate is 0.93 % of payments (95 % interval 0.89 % to 0.98 %), from 1.20 % of "
    "payments before; it should be 0.80 % of payments by 2027-06-30: it is on course",
    "EUR 4,100,000.00",
    "model:fraud",
    "97.4 %",  # of its tries answered
    "47.1 ms",
    "0.943 (0.939 to 0.946)",
    "0.951 (0.947 to 0.954)",  # the month before
    "PL rose from 4.1 % to 11.8 %",
    "A campaign in Poland",
    "the payment provider double-sends",
    "Release 41 went live",
    "new features",
    "fraud@7",
    "failed: exhausted",
    "4 others",
]


def test_the_page_and_the_document_tell_the_same_figures(page: bytes, pdf: bytes) -> None:
    read, printed = Page(page).text.casefold(), document(pdf)[1].casefold()

    assert [figure for figure in TOLD if figure.casefold() not in read] == []
    assert [figure for figure in TOLD if figure.casefold() not in printed] == []


def test_the_same_figures_give_the_same_bytes(full: MonthFigures, page: bytes, pdf: bytes) -> None:
    again = report_of(figures())

    assert as_html(again) == page
    assert as_pdf(again) == pdf


def test_the_page_has_no_script_and_fetches_nothing(page: bytes) -> None:
    read = Page(page)

    assert not read.tags & {"script", "iframe", "object", "embed", "link", "img", "form", "a"}
    assert [one for one in read.attributes if one[1].startswith("on")] == []
    fetched = [
        one for one in read.attributes
        if one[1] in ("src", "href", "xlink:href", "action", "data") and not one[2].startswith("#")
    ]  # fmt: skip
    assert fetched == []
    assert "url(" not in page.decode().replace("url(#", "")
    assert "@import" not in page.decode()
    assert len(set(read.ids)) == len(read.ids)


def test_the_document_is_tagged_and_carries_its_faces(pdf: bytes) -> None:
    reader, _ = document(pdf)

    assert reader.metadata is not None
    assert reader.metadata.title == "fraud-screening: October 2026"
    assert reader.trailer["/Root"]["/MarkInfo"]["/Marked"]
    assert reader.trailer["/Root"]["/Lang"] == "en"
    fonts = [
        font.get_object() for one in reader.pages
        for font in one["/Resources"]["/Font"].get_object().values()
    ]  # fmt: skip
    assert fonts
    for font in fonts:
        (inner,) = font["/DescendantFonts"]
        described = inner.get_object()["/FontDescriptor"].get_object()
        assert {"/FontFile", "/FontFile2", "/FontFile3"} & set(described)


HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</style><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    '#panic("run")',
    '#import "/etc/passwd": *',
    "$ x^2 $ *bold* _it_ `raw` = head @ref <label> \\ // note",
    '#read("/etc/passwd")',
    '"); #let x = 1; ("',
    "'; DROP TABLE calls; --",
    "Grüße 你好 🎲 \u202eevil\u202c",
    "nul\0and\x1bescape",
]


def hostile(text: str) -> MonthFigures:
    """A month in which everything that people may name has that name."""
    bad = manifest(
        purpose=text, integration=text,
        objective={"kpi": text, "unit": text, "baseline": 1.0, "target": 2.0, "due": text},
    )  # fmt: skip
    made = figures()
    declared = msgspec.structs.replace(made.declared, manifest=bad, by=text, why=text)
    standing = made.worth.standing
    assert standing is not None
    event = AuditEvent(1, WINDOW.since_us, text, "release.live", text, text, {"release": text})
    return figures(
        integration=text, declared=declared, release=declared,
        routes=(Part(text, totals(10)),),
        tried=tuple(msgspec.structs.replace(one, route=text, version=text) for one in made.tried),
        callers=tuple(msgspec.structs.replace(one, caller=text) for one in made.callers),
        worth=msgspec.structs.replace(
            made.worth, standing=msgspec.structs.replace(standing, kpi=text, unit=text, told=text)
        ),
        quality=msgspec.structs.replace(made.quality, outcome=text, notes=(text,)),
        drift=msgspec.structs.replace(
            made.drift,
            columns=tuple(
                msgspec.structs.replace(one, column=text, why=text) for one in made.drift.columns
            ),
        ),
        alerts=tuple(
            msgspec.structs.replace(one, monitor=text, why=text, acknowledged_why=text)
            for one in made.alerts
        ),
        changes=(event,),
    )  # fmt: skip


def test_hostile_text_is_shown_and_not_run(page: bytes) -> None:
    bad = report_of(hostile("\n".join(HOSTILE)))  # together, for drawing takes its time

    read, usual = Page(as_html(bad)), Page(page)
    reader, printed = document(as_pdf(bad))

    assert read.tags == usual.tags
    assert {(tag, name) for tag, name, _ in read.attributes} <= {
        (tag, name) for tag, name, _ in usual.attributes
    }
    assert reader.metadata is not None
    letters = re.sub(r"[^A-Za-z0-9]", "", printed).casefold()
    for text in HOSTILE:
        seen = " ".join(re.sub("[\0\x1b\u202c\u202e]", "\ufffd", text).split())
        assert seen[:40].casefold() in read.text.casefold()
        assert re.sub(r"[^A-Za-z0-9]", "", text)[:20].casefold() in letters
    assert "root:x:" not in printed


def test_a_text_without_end_is_cut_and_says_so() -> None:
    long = manifest(purpose="x" * 100_000)
    declared = msgspec.structs.replace(figures().declared, manifest=long)

    read = Page(as_html(report_of(msgspec.structs.replace(empty(), declared=declared)))).text

    assert "xxx…" in read
    assert len(read) < 10_000


def test_a_month_without_calls_reads_well(pdf: bytes) -> None:
    bare = report_of(empty())
    read = Page(as_html(bare)).text

    assert "There were no calls in October 2026." in read
    assert "Nothing had been released yet." in read
    assert "An objective: the business figure that it must move" in read
    assert "None: no alert, no stop, no failed call." in read
    assert not re.search(r"\bnan\b|None\b(?!: no)|\binf\b", read)
    assert len(document(as_pdf(bare))[0].pages) == 1


def test_a_month_that_is_not_over_says_so() -> None:
    half = figures(known_us=WINDOW.since_us + (WINDOW.until_us - WINDOW.since_us) // 2)

    assert "October 2026 is not over: this is as far as it came." in report_of(half).summary


def test_a_month_to_come_has_not_begun() -> None:
    future = msgspec.structs.replace(empty(), known_us=WINDOW.since_us - 1)

    assert report_of(future).summary == ("October 2026 has not begun.",)


@pytest.mark.parametrize(
    ("fields", "ask"),
    [
        ({}, "A declared truth"),
        ({"totals": totals(100, costed=40)}, "The cost of 60.0 % of the calls"),
        ({"alerts": (msgspec.structs.replace(
            figures().alerts[0], resolved_us=0, acknowledged_us=0),)}, "1 open alert"),
        ({"declared": msgspec.structs.replace(
            figures().declared, manifest=manifest(objective={"kpi": "k", "unit": ""}))},
         "A baseline"),
    ],
)  # fmt: skip
def test_what_is_missing_is_asked_for(fields: dict[str, Any], ask: str) -> None:
    section = report_of(figures(**fields)).sections[-1]

    assert section.title == "What is missing"
    assert ask in str(section.blocks)


def test_an_estimate_is_never_called_a_proof() -> None:
    made = figures()
    guess = msgspec.structs.replace(made.worth.value, causal=False, basis="baseline", why="guessed")

    told = report_of(figures(worth=msgspec.structs.replace(made.worth, value=guess)))

    assert any("estimate, not a proof" in one for one in told.summary)
    assert not any("caused" in one for one in told.summary)
    assert "A proof that it caused the effect" in str(told.sections[-1].blocks)


def test_days_of_charts_are_in_the_order_of_the_month(full: MonthFigures) -> None:
    (chart,) = [
        block for section in report_of(full).sections for block in section.blocks
        if getattr(block, "title", "") == "Calls by day"
    ]  # fmt: skip

    svg = drawn(chart.spec)  # type: ignore[union-attr]

    days = [int(one) for one in re.findall(r">(\d{1,2})</text>", svg)]
    assert days[: len(MONTH.days)] == list(range(1, len(MONTH.days) + 1))


@pytest.mark.parametrize("library", ["typst", "vl_convert"])
def test_a_library_that_is_not_installed_is_named_with_what_brings_it(
    library: str, full: MonthFigures, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, library, None)

    with pytest.raises(SettingsError, match=r"splice-ai\[report\]"):
        as_pdf(report_of(full))
