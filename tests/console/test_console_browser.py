"""The console in a real browser: what it looks like to people, keys, screen readers, attackers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from seeded import Seeded

from splice.testing.project import Server

pytestmark = pytest.mark.browser

FRAUD = "/console/integrations/fraud-screening"
PATIENCE_MS = 60_000  # on a busy machine; what is waited for is there within a second elsewhere


@pytest.fixture
def context(browser: Browser, console: Server) -> Iterator[BrowserContext]:
    """A visitor; whatever a page complains of fails the test."""
    complaints: list[str] = []
    made = browser.new_context(base_url=console.url, viewport={"width": 1440, "height": 900})
    made.set_default_timeout(PATIENCE_MS)

    def listen(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console", lambda told: complaints.append(told.text) if told.type != "log" else None
        )
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))

    made.on("page", listen)
    yield made
    made.close()
    assert complaints == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def drawn(page: Page) -> Page:
    """The page, once its charts are drawn."""
    page.wait_for_selector("body[data-drawn]")
    return page


TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


def axe(page: Page, script: str, rules: list[str]) -> list[str]:
    """What axe has against a page: rule, and where."""
    found: dict[str, Any] = page.evaluate(
        f"async (rules) => {{ {script}; return await axe.run(document, "
        "{resultTypes: ['violations'], runOnly: rules}); }",
        rules,
    )
    return [
        f"{one['id']}: {node['html'][:200]} {node['failureSummary'][:200]}"
        for one in found["violations"]
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_shuts_anybody_out(
    page: Page, seeded: Seeded, chromium_at: Any, scheme: Any
) -> None:
    script = Path(chromium_at.axe).read_text("utf-8")
    page.emulate_media(color_scheme=scheme)
    wrong: dict[str, list[str]] = {}
    for path in (
        "/console?range=30d", "/console/calls?range=30d&status=failed", "/console/live",
        "/console/alerts?range=30d", f"/console/calls/{seeded.triage}",
        f"/console/calls/{seeded.hostile}", f"{FRAUD}?range=30d", f"{FRAUD}/drift?against=1",
        f"{FRAUD}/accuracy?range=30d", f"{FRAUD}/experiments", f"{FRAUD}/releases?range=30d",
        f"{FRAUD}/releases/2", f"{FRAUD}/compare?range=30d", "/console/sign-in",
        "/console/audit", "/console/audit/1", "/console/dead-letters", "/console/dead-letters/2",
    ):  # fmt: skip
        page.goto(path)
        if page.locator("[data-chart]").count():
            drawn(page)
        # In the dark the elements are the same: their colours are not.
        if found := axe(page, script, TAGS if scheme == "light" else ["color-contrast"]):
            wrong[path] = found

    assert wrong == {}


def test_hostile_texts_do_nothing_but_stand_there(page: Page, seeded: Seeded) -> None:
    for path in (
        f"/console/calls/{seeded.hostile}", "/console/calls?q=onerror", "/console/live",
        "/console/dead-letters", "/console/dead-letters/2",
    ):  # fmt: skip
        page.goto(path)
        expect(page.get_by_text("<script>", exact=False).first).to_be_visible()
        assert "owned" not in page.title()
        assert page.locator("main img, main script").count() == 0


def test_charts_are_drawn_with_every_change_and_say_their_figures(page: Page) -> None:
    page.goto(f"{FRAUD}?range=30d")

    drawn(page)

    assert page.locator(".chart canvas").count() >= 5
    chart = page.locator('[data-chart="traffic"]')
    box = chart.bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.6)
    tip = page.locator("#vg-tooltip-element.visible")
    expect(tip).to_contain_text("Calls")
    expect(tip).to_contain_text(re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d"))


def test_a_brush_over_a_chart_is_the_time_of_the_page(page: Page) -> None:
    page.goto(f"{FRAUD}?range=30d")
    chart = drawn(page).locator('[data-chart="traffic"] canvas')
    chart.scroll_into_view_if_needed()
    box = chart.bounding_box()
    assert box is not None

    page.mouse.move(box["x"] + box["width"] * 0.5, box["y"] + 60)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 62, steps=5)
    page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + 60, steps=5)
    page.mouse.up()

    page.wait_for_url("**since=*until=*")
    expect(page.get_by_text(re.compile(r"to .* UTC")).first).to_be_visible()
    assert page.locator("[data-range][aria-current]").count() == 0
    drawn(page)


def test_every_page_can_be_walked_by_keys(page: Page) -> None:
    page.goto("/console?range=30d")
    page.keyboard.press("Tab")
    expect(page.locator(".skip")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()

    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(page.locator("tr.chosen a.open")).to_be_focused()
    page.keyboard.press("Enter")
    page.wait_for_url("**/integrations/*")

    page.keyboard.press("g")
    page.keyboard.press("c")
    page.wait_for_url("**/console/calls*")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("gpt?")  # keys are letters where one writes
    expect(page.locator("#q")).to_have_value("gpt?")
    page.keyboard.press("Tab")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_hidden()
    page.locator("#main").focus()
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_visible()
    page.locator("#single-keys").uncheck()
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.locator("#shortcuts")).to_be_hidden()


def test_whatever_has_the_focus_shows_it(page: Page) -> None:
    page.goto("/console/calls?range=30d")
    for _ in range(25):
        page.keyboard.press("Tab")
        seen = page.evaluate(
            "() => { const one = document.activeElement, s = getComputedStyle(one);"
            " return [one.outerHTML.slice(0, 90), s.outlineStyle, s.outlineWidth]; }"
        )
        assert seen[1] != "none", seen
        assert seen[2] != "0px", seen


def test_the_theme_is_kept_and_charts_follow_it(page: Page) -> None:
    page.goto(f"{FRAUD}?range=30d")
    drawn(page)
    light = page.evaluate("() => getComputedStyle(document.body).backgroundColor")

    page.keyboard.press("t")
    page.keyboard.press("t")

    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    page.reload()
    drawn(page)
    assert page.evaluate("() => document.documentElement.dataset.theme") == "dark"
    assert page.evaluate("() => getComputedStyle(document.body).backgroundColor") != light


def test_calls_appear_live_as_they_are_answered(page: Page, orders: Server) -> None:
    page.goto(f"{orders.url}/console/live?integration=orders")
    expect(page.locator("#state")).to_have_text("watching", timeout=PATIENCE_MS)

    answer = orders.post(
        "/v1/integrations/orders/calls", {"customer": "<b>parcel-live</b>", "amount": 5}
    )

    call_id = answer.json["call_id"]
    row = page.locator(f'tr[data-id="{call_id}"]')
    expect(row).to_contain_text("<b>parcel-live</b>", timeout=PATIENCE_MS)
    assert page.locator("#tail b").count() == 0
    page.get_by_role("button", name="Pause").click()
    expect(page.locator("#state")).to_contain_text("paused")
    row.locator("a").click()
    page.wait_for_url(f"**/calls/{call_id}")


def test_at_the_width_of_a_phone_nothing_runs_out_of_the_page(page: Page, seeded: Seeded) -> None:
    page.set_viewport_size({"width": 360, "height": 780})
    for path in (
        "/console?range=30d", "/console/calls?range=30d", f"/console/calls/{seeded.triage}",
        f"{FRAUD}?range=30d", f"{FRAUD}/drift", f"{FRAUD}/accuracy?range=30d", "/console/live",
        f"{FRAUD}/experiments", f"{FRAUD}/releases", "/console/alerts", "/console/sign-in",
        "/console/audit", "/console/dead-letters", "/console/dead-letters/2",
    ):  # fmt: skip
        page.goto(path)
        wide = page.evaluate("() => document.documentElement.scrollWidth")
        assert wide <= 360, path


def test_without_scripts_every_page_reads_the_same(browser: Browser, console: Server) -> None:
    context = browser.new_context(base_url=console.url, java_script_enabled=False)
    page = context.new_page()

    page.goto("/console?range=30d")
    page.get_by_role("link", name="fraud-screening").click()
    page.get_by_text("These figures as a table").click()

    expect(page.get_by_role("group", name="Figures over time")).to_be_visible()
    expect(page.get_by_role("button", name="Theme")).to_be_hidden()
    context.close()


def test_a_server_that_stops_does_not_wait_for_those_who_watch(
    browser: Browser, project: Any
) -> None:
    # Whoever had to be waited for would be waited for longer than the test waits.
    slow = {"ACME_KEY": "no-secret", "SPLICE_SERVER_DRAIN_SECONDS": "3600"}
    with project.serve(env=slow) as server:
        context = browser.new_context(base_url=server.url)
        page = context.new_page()
        page.goto("/console/live")
        expect(page.locator("#state")).to_have_text("watching", timeout=PATIENCE_MS)

        assert server.stop() == 0

        context.close()
