"""People sign in through a real OpenID provider, in a real browser; and all that must not work."""

from __future__ import annotations

import time
import urllib.parse
from collections.abc import Iterator
from typing import Any

import pytest
from access_house import Provider, until
from playwright.sync_api import Browser, BrowserContext, Page, expect

from splice.testing.project import Project, Server

pytestmark = pytest.mark.browser

PATIENCE_MS = 60_000


@pytest.fixture
def visitor(browser: Browser, console: Server) -> Iterator[BrowserContext]:
    made = browser.new_context(base_url=console.url)
    made.set_default_timeout(PATIENCE_MS)
    yield made
    made.close()


def sign_in(context: BrowserContext, who: str, at: str = "/console") -> Page:
    """Through the form of the provider, and its question whether the console may know."""
    page = context.new_page()
    page.goto(at)
    page.get_by_role("link", name="Sign in with").click()
    page.fill("input[name=login]", who)
    page.fill("input[name=password]", "any")
    page.click("button[type=submit]")
    page.click("button[type=submit]")  # consent
    page.wait_for_url("**/console**")
    return page


def test_somebody_signs_in_sees_what_his_groups_may_and_signs_out_for_good(
    visitor: BrowserContext, console: Server, audit: Any
) -> None:
    page = sign_in(visitor, "anna", "/console/calls?range=24h")

    assert page.url == f"{console.url}/console/calls?range=24h"
    page.goto("/console")
    expect(page.get_by_role("main")).to_contain_text("orders")
    assert "refunds" not in page.content()
    refused = page.goto("/console/integrations/refunds")
    assert refused is not None
    assert refused.status == 404
    cookies = {one["name"]: one for one in visitor.cookies()}
    held = cookies["splice_session"]
    assert (held["httpOnly"], held["sameSite"], held["path"]) == (True, "Lax", "/console")
    assert "splice_sign_in" not in cookies

    page.goto("/console")
    page.get_by_role("button", name="Sign out").click()
    page.wait_for_url("**/console/sign-in")
    stolen = {"cookie": f"splice_session={held['value']}", "accept": "*/*"}
    assert {console.ask("GET", "/console", **stolen).status for _ in range(6)} == {401}
    told = audit("person.sign-in")[-1]
    assert told["by"] == told["subject"] == "anna@example.com"
    assert told["origin"]["surface"] == "console"
    assert told["origin"]["address"] == "127.0.0.1"
    assert told["after"] == {"grants": [{"role": "viewer", "integrations": ["orders"]}]}
    assert audit("person.sign-out")[-1]["subject"] == "anna@example.com"
    assert held["value"] not in console.log


def test_a_role_given_here_holds_with_the_next_page_and_so_does_its_end(
    visitor: BrowserContext, project: Project, audit: Any
) -> None:
    page = sign_in(visitor, "ben")
    expect(page.get_by_role("main")).to_contain_text("splice people grant ben@example.com")

    given = ("people", "grant", "Ben@Example.com", "--role", "viewer", "--integration", "refunds")
    assert project.run(*given, "--why", "on call").returncode == 0
    page.goto("/console")
    expect(page.get_by_role("main")).to_contain_text("refunds")
    assert "orders" not in page.get_by_role("main").inner_text()

    assert project.run("people", "bar", "ben@example.com", "--yes").returncode == 0
    page.goto("/console")
    page.wait_for_url("**/console/sign-in?**")
    told = audit("person.grant")[-1]
    assert (told["why"], told["before"]) == ("on call", [])
    assert told["after"] == [{"role": "viewer", "integrations": ["refunds"]}]


def test_an_address_that_is_not_his_lets_nobody_in_as_another(
    browser: Browser, console: Server
) -> None:
    said = {}
    for who in ("anna", "eve", "mallory"):
        context = browser.new_context(base_url=console.url)
        context.set_default_timeout(PATIENCE_MS)
        said[who] = sign_in(context, who).get_by_role("main").inner_text()
        assert ("splice_session" in {one["name"] for one in context.cookies()}) == (who == "anna")
        context.close()

    assert "does not call verified" in said["eve"]
    assert "another account" in said["mallory"]


def test_an_answer_counts_once_and_only_in_the_browser_that_asked(
    browser: Browser, console: Server, visitor: BrowserContext
) -> None:
    answers: list[str] = []
    visitor.on(
        "request", lambda one: answers.append(one.url) if "/sign-in/back?" in one.url else None
    )
    pending: list[str] = []
    visitor.on(
        "response",
        lambda one: (
            pending.append(one.header_value("set-cookie") or "")
            if one.url.split("?")[0].endswith("/sign-in/start")
            else None
        ),
    )
    sign_in(visitor, "anna")
    answer = answers[0].removeprefix(console.url)
    cookie = pending[0].partition(";")[0]

    stranger = console.ask("GET", answer)
    again = [console.ask("GET", answer, cookie=cookie) for _ in range(2)]
    state = urllib.parse.parse_qs(urllib.parse.urlsplit(answer).query)["state"][0]
    planted = console.ask("GET", f"/console/sign-in/back?code=x&state={state}", cookie=cookie)

    assert stranger.status == 403
    assert b"this browser did not ask for" in stranger.body
    for one in (*again, planted):
        assert one.status == 403
        assert "splice_session=" not in one.headers.get("set-cookie", "")


@pytest.mark.parametrize("after", ["https://evil.example.com", "//evil.example.com", "/console//x"])
def test_a_sign_in_leads_nowhere_else(console: Server, after: str) -> None:
    quoted = urllib.parse.quote(after, safe="")

    sent = console.ask("GET", f"/console/sign-in/start?next={quoted}")

    assert sent.status == 303
    assert "evil" not in sent.headers["location"]
    assert "HttpOnly" in sent.headers["set-cookie"]
    kept = sent.headers["set-cookie"].partition(".")[2].partition(";")[0]
    assert kept == "L2NvbnNvbGU"  # /console


def test_the_address_that_a_browser_came_by_is_not_for_a_stranger_to_choose(
    console: Server,
) -> None:
    refused = console.ask("GET", "/console/sign-in/start", host="evil.example.com")

    assert refused.status == 403
    assert "location" not in refused.headers


def test_while_the_provider_is_away_who_is_in_stays_in_and_others_are_told(
    browser: Browser, visitor: BrowserContext, console: Server, provider: Provider
) -> None:
    page = sign_in(visitor, "anna")
    provider.stop()
    try:
        page.goto("/console")
        expect(page.get_by_role("main")).to_contain_text("orders")
        other = browser.new_context(base_url=console.url)
        other.set_default_timeout(PATIENCE_MS)
        waiting = other.new_page()
        waiting.goto("/console/sign-in")
        target = console.ask("GET", "/console/sign-in/start")
        # Its addresses are known; the code cannot be had.
        assert target.status == 303
        seed = target.headers["set-cookie"].partition(";")[0]
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(target.headers["location"]).query)
        iss = urllib.parse.quote(provider.issuer, safe="")
        back = f"/console/sign-in/back?code=x&state={query['state'][0]}&iss={iss}"
        refused = console.ask("GET", back, cookie=seed)
        assert refused.status == 503
        assert b"identity provider" in refused.body
        other.close()
    finally:
        provider.new_key("two")  # and back with another key
        provider.start()

    time.sleep(2.1)  # how long a provider that was away is left alone
    fresh = browser.new_context(base_url=console.url)
    fresh.set_default_timeout(PATIENCE_MS)
    page = sign_in(fresh, "anna")
    expect(page.get_by_role("main")).to_contain_text("orders")
    fresh.close()


def test_where_people_sign_in_nobody_is_let_in_without_on_this_machine_either(
    console: Server,
) -> None:
    asked = console.ask("GET", "/console", accept="text/html")
    data = console.ask("GET", "/console/calls.csv")

    assert asked.status == 303
    assert asked.headers["location"].startswith("/console/sign-in")
    assert data.status == 401
    assert until(lambda: console.get("/healthz").status == 200)
