"""Reviews in a real browser: decided by keys, hostile texts, small screens, screen readers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect
from reviews_house import ask, project, review_of

from splice.testing.project import Server

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
HOSTILE = "<script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with project(tmp_path_factory.mktemp("looked") / "p").serve() as running:
        for n in range(8):
            ask(running, 100.0 * n)
        yield running


@pytest.fixture
def context(browser: Browser, server: Server) -> Iterator[BrowserContext]:
    complaints: list[str] = []
    made = browser.new_context(base_url=server.url, viewport={"width": 1440, "height": 900})
    made.set_default_timeout(PATIENCE_MS)

    def listen(page: Page) -> None:
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(f"dialog: {dialog.message}"))

    made.on("page", listen)
    yield made
    made.close()
    assert complaints == []


@pytest.fixture
def page(context: BrowserContext) -> Page:
    return context.new_page()


def opened(server: Server, amount: float = 900, **more: Any) -> str:
    return review_of(server, ask(server, amount, **more))["id"]


def state(server: Server, review_id: str) -> Any:
    return server.get(f"/v1/reviews/{review_id}").json["review"]


def test_a_call_is_taken_corrected_and_decided_without_a_mouse(page: Page, server: Server) -> None:
    review_id = opened(server)
    page.goto("/console")
    page.keyboard.press("g")
    page.keyboard.press("r")
    page.wait_for_url("**/console/reviews*")
    page.goto(f"/console/reviews/{review_id}")

    page.keyboard.press("o")
    expect(page.locator("#f1")).to_be_focused()
    page.keyboard.press("ControlOrMeta+a")
    page.keyboard.type("0.25")
    page.keyboard.press("Tab")
    page.keyboard.press("p")  # letters are letters where one chooses
    page.keyboard.press("Tab")
    page.keyboard.press("w")
    page.keyboard.press("Control+Enter")

    expect(page.locator("h1 .mark")).to_have_text("decided")
    (said,) = state(server, review_id)["verdicts"]
    assert (said["choice"], said["reason"]) == ("override", "wrong amount")
    assert said["reply"] == {"chance": 0.25, "action": "pay"}


def test_what_was_typed_stays_where_something_is_wrong_with_it(page: Page, server: Server) -> None:
    review_id = opened(server)
    page.goto(f"/console/reviews/{review_id}")
    page.get_by_label("Override").check()
    page.locator("#f1").fill("a lot")
    page.locator("#note").fill("what I saw")

    page.get_by_role("button", name="Give the verdict").click()

    expect(page.locator("#wrong")).to_contain_text("claims.reply.chance")
    expect(page.locator("#f1")).to_have_value("a lot")
    expect(page.locator("#note")).to_have_value("what I saw")
    assert page.get_by_label("Override").is_checked()
    assert state(server, review_id)["state"] == "open"


def test_one_is_taken_given_back_and_escalated(page: Page, server: Server) -> None:
    review_id = opened(server)
    page.goto(f"/console/reviews/{review_id}")

    page.get_by_role("button", name="Take it").click()
    expect(page.locator("h1 .mark")).to_have_text("claimed")
    page.get_by_role("button", name="Give it back").click()
    page.wait_for_url("**/console/reviews")
    page.goto(f"/console/reviews/{review_id}")
    page.keyboard.press("e")
    expect(page.locator("#why")).to_be_focused()
    page.keyboard.type("beyond me")
    page.keyboard.press("Control+Enter")

    expect(page.locator("h1 .mark")).to_have_text("escalated")
    assert state(server, review_id)["verdicts"][0]["reason"] == "beyond me"


def test_hostile_texts_do_nothing_but_stand_there(page: Page, server: Server) -> None:
    review_id = opened(server, customer=HOSTILE, text=HOSTILE)
    for path in (f"/console/reviews/{review_id}", "/console/reviews"):
        page.goto(path)
        assert "owned" not in page.title()
        assert page.locator("main img, main script").count() == 0
    page.goto(f"/console/reviews/{review_id}")
    expect(page.get_by_text("<script>", exact=False).first).to_be_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_shuts_anybody_out(
    page: Page, server: Server, chromium_at: Any, scheme: Any
) -> None:
    script = Path(chromium_at.axe).read_text("utf-8")
    page.emulate_media(color_scheme=scheme)
    review_id, wrong = opened(server), dict[str, Any]()
    for path, key in (
        ("/console/reviews", ""), (f"/console/reviews/{review_id}", "o"),
        (f"/console/reviews/{review_id}", "e"), ("/console/integrations/claims#switch", ""),
    ):  # fmt: skip
        page.goto(path)
        if key:
            page.keyboard.press(key)
        found: Any = page.evaluate(
            f"async (rules) => {{ {script}; return await axe.run(document, "
            "{resultTypes: ['violations'], runOnly: rules}); }",
            TAGS if scheme == "light" else ["color-contrast"],
        )
        if found["violations"]:
            wrong[path + key] = [
                (one["id"], [node["html"][:160] for node in one["nodes"]])
                for one in found["violations"]
            ]

    assert wrong == {}


def test_at_the_width_of_a_phone_nothing_runs_out_of_the_page(page: Page, server: Server) -> None:
    page.set_viewport_size({"width": 360, "height": 780})
    review_id = opened(server, customer="5d5980a39ca7a5e3497e79077c0591002fa4a748152876cf06b4aed7")
    page.goto(f"/console/reviews/{review_id}")
    of_call = page.locator("a[href*='/console/calls/']").first.get_attribute("href") or ""
    for path in ("/console/reviews", f"/console/reviews/{review_id}", of_call):
        page.goto(path)
        page.keyboard.press("o")
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360, path


def test_without_scripts_a_verdict_is_given_all_the_same(browser: Browser, server: Server) -> None:
    review_id = opened(server)
    context = browser.new_context(base_url=server.url, java_script_enabled=False)
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(f"/console/reviews/{review_id}")
    expect(page.locator("#f1")).to_be_hidden()

    page.locator("#approve").check()
    page.get_by_role("button", name="Give the verdict").click()

    expect(page.locator("h1 .mark")).to_have_text("decided")
    assert state(server, review_id)["verdicts"][0]["choice"] == "approve"
    context.close()
