"""The console over HTTP: every page, what it may not do, and who may see what."""

from __future__ import annotations

import csv
import io
import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, TypeVar

import pyarrow.parquet
import pytest
from seeded import DAY_US, HOSTILE, ORDERS, Seeded
from starlette.testclient import TestClient

import splice
from splice.console import units
from splice.control.keys import KeyRequest, Keys
from splice.core.access import Grant, Role
from splice.testing.project import Answer, Project, Server

T = TypeVar("T")

FRAUD = "/console/integrations/fraud-screening"
PAGES = [
    "/console", "/console?range=30d", "/console/calls", "/console/live", "/console/alerts",
    FRAUD, f"{FRAUD}?range=30d", f"{FRAUD}/drift", f"{FRAUD}/drift?against=week",
    f"{FRAUD}/drift?against=1", f"{FRAUD}/accuracy?range=30d", f"{FRAUD}/experiments",
    f"{FRAUD}/alerts", f"{FRAUD}/releases?range=30d", f"{FRAUD}/releases/2", f"{FRAUD}/compare",
    f"{FRAUD}/duties", f"{FRAUD}/duties?all=1", "/console/incidents",
    "/console/dead-letters", "/console/dead-letters?state=dropped", "/console/dead-letters/1",
    "/console/audit", "/console/audit?subject=fraud-screening&from=cli", "/console/audit/1",
    "/console/sign-in",
]  # fmt: skip


class Reader(HTMLParser):
    """What a browser would make of a page: its elements, attributes that run, and its text."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.scripts: list[str] = []
        self.running: list[str] = []
        self.text = ""
        self._in_script = False
        self.feed(body.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "script":
            self.scripts.append(given.get("src", ""))
            self._in_script = "src" not in given
        self.running += [name for name in given if name.startswith("on") or name == "style"]
        addresses = (given.get("href", ""), given.get("src", ""), given.get("action", ""))
        self.running += [one for one in addresses if one and not one.startswith(("/", "#"))]

    def handle_data(self, data: str) -> None:
        self.running += [data] if self._in_script else []
        self.text += data

    def handle_endtag(self, tag: str) -> None:
        self._in_script = False


def page(server: Server, path: str, status: int = 200) -> Reader:
    answer = server.get(path)
    assert answer.status == status, answer.body[:2000].decode()
    return Reader(answer.body)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_made_and_runs_nothing_but_files_of_its_own(
    console: Server, path: str
) -> None:
    answer = console.get(path)

    assert answer.status == 200, answer.body[:2000].decode()
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "private, no-store"
    read = Reader(answer.body)
    assert read.running == []
    assert all(one.startswith("/console/static/") for one in read.scripts)


def test_the_portfolio_has_every_integration_with_its_figures(console: Server) -> None:
    text = page(console, "/console?range=30d").text

    for part in ("fraud-screening", "support-triage", "delivery-eta", "high", "chargeback rate"):
        assert part in text
    assert "Stop card fraud before a payment is authorised." in text
    assert re.search(r"Calls\s*1,601", text)


def test_an_integration_shows_its_objective_figures_and_changes(console: Server) -> None:
    text = page(console, f"{FRAUD}?range=30d").text

    for part in ("Release 3 is live", "sharper on large amounts", "rule:velocity", "challenger"):
        assert part in text
    assert re.search(r"Calls\s*800", text)


def test_the_figures_of_charts_have_the_calls_and_the_changes(console: Server) -> None:
    found = console.get(f"{FRAUD}/figures.json?range=30d").json

    assert sum(one["all"] for one in found["points"]) == 800
    ended = ("answered", "cached", "fallback", "refused", "failed")
    assert all(sum(one[how] for how in ended) == one["all"] for one in found["points"])
    assert [one["label"] for one in found["marks"]] == ["r1", "r2", "r3"]
    begin, end = found["span"]
    assert end - begin == 30 * 86_400_000


def test_accuracy_is_told_by_what_really_happened(console: Server) -> None:
    text = page(console, f"{FRAUD}/accuracy?range=30d").text
    course = console.get(f"{FRAUD}/accuracy.json?range=30d").json["points"]

    assert "chargeback" in text
    assert "By outcomes" in text
    assert len(course) > 10
    told = [one for one in course if one["low"] is not None]
    assert all(one["low"] <= one["value"] <= one["high"] for one in told)
    assert told


def test_drift_names_the_columns_that_moved(console: Server, seeded: Seeded) -> None:
    since = units.machine(seeded.now_us - round(2.4 * DAY_US))
    text = page(console, f"{FRAUD}/drift?since={since}").text

    assert re.search(r"amount_eur\s*number\s*drifted", text)
    assert re.search(r"device_age_days\s*number\s*as before", text)


def test_one_call_is_told_from_the_question_to_what_became_of_it(
    console: Server, seeded: Seeded
) -> None:
    text = page(console, f"/console/calls/{seeded.fraud}").text
    fallback = page(console, f"/console/calls/{seeded.triage}").text

    for part in ("amount_eur", "The first route answered", "chargeback", "acquirer",
                 "splice calls replay", "Trace"):  # fmt: skip
        assert part in text
    for part in ("route timeout", "no answer within 6 s", "6.00 s", "from crm, 90.0 min old"):
        assert part in fallback


@pytest.mark.parametrize(
    ("query", "column", "wanted"),
    [
        ("integration=delivery-eta", "integration", {"delivery-eta"}),
        ("integration=fraud-screening&variant=challenger", "variant", {"challenger"}),
        ("status=failed", "status", {"failed"}),
        ("reason=fallback", "reason", {"fallback"}),
        ("integration=fraud-screening&release=2", "release", {"2"}),
    ],
)
def test_calls_are_found_by_what_they_were(
    console: Server, query: str, column: str, wanted: set[str]
) -> None:
    shown = page(console, f"/console/calls?range=30d&{query}").text
    rows = list(csv.DictReader(io.StringIO(exported(console, query).body.decode())))

    assert "No calls" not in shown
    assert {row[column] for row in rows} == wanted


def test_calls_are_found_by_text_decision_and_outcome(console: Server) -> None:
    by_text = exported(console, "q=INVOICE IS").body.decode()
    blocked = exported(console, "integration=fraud-screening&decision=action=review")
    charged = exported(console, "outcome=chargeback=true").body.decode()
    slow = exported(console, "slower=5000").body.decode()

    rows = list(csv.DictReader(io.StringIO(blocked.body.decode())))
    assert {row["reply.action"] for row in rows} == {"review"}
    for text, integration in (
        (by_text, "support-triage"), (charged, "fraud-screening"), (slow, "support-triage"),
    ):  # fmt: skip
        assert {row["integration"] for row in csv.DictReader(io.StringIO(text))} == {integration}


def test_a_page_of_calls_leads_to_older_ones_until_there_are_none(console: Server) -> None:
    seen: list[str] = []
    path = "/console/calls?range=30d&integration=delivery-eta"
    while path:
        body = console.get(path).body.decode()
        seen += re.findall(r'<th scope="row"><a href="/console/calls/([0-9a-f-]{36})"', body)
        following = re.search(r'rel="next" href="([^"]+)"', body)
        path = following[1].replace("&amp;", "&") if following else ""

    assert len(seen) == len(set(seen)) == 400


def test_a_search_that_is_out_of_time_says_how_far_it_came(
    seeded: Seeded, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACME_KEY", "no-secret")
    monkeypatch.setenv("SPLICE_CONSOLE_SEARCH_MS", "10")
    with TestClient(splice.App(project=seeded.folder).asgi(), base_url="http://localhost") as one:
        body = one.get("/console/calls?range=30d&q=there+is+no+such+text").text

    assert "older calls were not looked at" in body
    assert "Older calls</a>" in body


def exported(server: Server, query: str, form: str = "csv") -> Answer:
    answer = server.get(f"/console/calls.{form}?range=30d&{query.replace(' ', '+')}")
    assert answer.status == 200, answer.body[:2000]
    return answer


def test_an_export_is_a_file_that_no_spreadsheet_runs(console: Server, seeded: Seeded) -> None:
    answer = exported(console, "integration=support-triage")
    parquet = exported(console, "integration=support-triage", "parquet")

    assert "attachment" in answer.headers["content-disposition"]
    rows = list(csv.DictReader(io.StringIO(answer.body.decode())))
    assert len(rows) == 401
    assert HOSTILE in {row["entity"] for row in rows}
    table = pyarrow.parquet.read_table(io.BytesIO(parquet.body))
    assert table.num_rows == 401


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1"])
def test_a_formula_in_a_call_is_no_formula_in_its_export(tmp_path: Path, text: str) -> None:
    app = splice.App(project=_orders(tmp_path))
    with TestClient(app.asgi(), base_url="http://localhost") as one:
        asked = {"customer": text, "amount": 5.0}
        assert one.post("/v1/integrations/orders/calls", json=asked).status_code == 200
        read = lambda: one.get("/console/calls.csv?integration=orders").text  # noqa: E731
        rows = until(lambda: list(csv.DictReader(io.StringIO(read(), newline=""))))

    # Behind white space, too: an apostrophe makes it text.
    assert rows[0]["entity"].lstrip()[0] == "'"
    assert text.strip() in rows[0]["entity"]


def test_hostile_text_is_text_wherever_a_call_is_shown(console: Server, seeded: Seeded) -> None:
    for path in (
        f"/console/calls/{seeded.hostile}",
        "/console/calls?q=onerror",
        "/console/calls?integration=support-triage",
        "/console/live",
        f"/console/calls?q={HOSTILE.replace(' ', '+')}&entity=%22%3E%3Cscript%3E1",
        "/console/integrations/%3Cscript%3Ealert(1)",
        "/console/%22onload=%22x",
    ):
        answer = console.get(path)
        read = Reader(answer.body)
        assert read.running == [], path
        assert all(one.startswith("/console/static/") for one in read.scripts), path


def test_what_cannot_be_read_in_an_address_is_told_and_breaks_nothing(console: Server) -> None:
    for path, status, part in (
        ("/console?range=8d", 422, "range"),
        ("/console/calls?status=done", 200, "status"),
        ("/console/calls?slower=x", 200, "slower"),
        (f"{FRAUD}/drift?against=x", 422, "against"),
        (f"{FRAUD}/compare?a=77", 404, "release"),
        (f"{FRAUD}/releases/x", 404, "release"),
        ("/console/calls/x", 404, "call"),
        ("/console/alerts/x", 404, "not here"),
        ("/console/nothing", 404, "not here"),
        ("/console/integrations/none", 404, "none"),
        ("/console/static/console-000000000000.css", 404, "not here"),
        ("/console/static/vega-000000000000.js", 404, "not here"),
    ):
        read = page(console, path, status)
        assert part in read.text, path


def test_files_are_kept_for_good_under_their_hash(console: Server) -> None:
    found = re.findall(r"/console/static/[\w.-]+", console.get("/console").body.decode())

    assert len(set(found)) == 3
    for path in set(found):
        answer = console.get(path)
        assert answer.status == 200
        assert "immutable" in answer.headers["cache-control"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_what_charts_are_drawn_with_is_made_here_and_leads_to_its_hash(console: Server) -> None:
    specs = console.get("/console/static/charts.json")
    kept = console.get(specs.headers["location"])

    assert specs.status == 302
    assert set(json.loads(kept.body)) >= {"traffic", "latency", "cost", "drift", "accuracy"}
    library = console.get(console.get("/console/static/vega.js").headers["location"])
    assert library.headers["content-type"].startswith("text/javascript")
    assert b"vegaEmbed" in library.body


def test_an_empty_console_says_what_to_do_next(empty: Server) -> None:
    assert "splice release apply" in page(empty, "/console").text
    assert "No calls in this time" in page(empty, "/console/calls").text
    assert "No alert is open" in page(empty, "/console/alerts").text
    assert "No calls yet" in page(empty, "/console/live").text


def test_a_page_of_another_name_gets_nothing_without_a_key(console: Server) -> None:
    refused = console.ask("GET", "/console", host="rebound.example.com")
    here = console.ask("GET", "/console", host="localhost:8000")

    assert refused.status == 403
    assert "fraud-screening" not in refused.body.decode()
    assert here.status == 200


def _orders(folder: Path) -> Path:
    made = Project(folder / "orders", '[project]\napply = "new"\n[ledger]\nflush_interval_ms = 1\n')
    made.declare(ORDERS)
    return made.folder


def key_for(app: splice.App, sees: tuple[str, ...] = ("*",), **allowed: Any) -> str:
    """A new key's secret, with the role of a viewer; the server hears of it within a second."""
    keys = Keys(app.services.stores.keys, pepper=b"", currency="EUR")
    grants = (Grant(Role.VIEWER, sees),) if sees else ()
    asked = KeyRequest(name=f"k{time.time_ns()}", grants=grants, **allowed)
    return keys.create(asked, by="test", now_us=time.time_ns() // 1000).token


def until(found: Callable[[], T]) -> T:
    """What is found, once it is."""
    give_up = time.monotonic() + 60
    while not (value := found()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.01)
    return value


def test_where_keys_are_asked_for_the_console_asks_for_one(tmp_path: Path) -> None:
    app = splice.App(project=_orders(tmp_path))
    with TestClient(app.asgi(), base_url="http://localhost", follow_redirects=False) as one:
        token = key_for(app, sees=("orders",))
        # A server hears of a key within a second.
        until(lambda: one.get("/console").status_code != 200)
        sent = one.get("/console/calls?range=24h", headers={"accept": "text/html"})
        assert sent.status_code == 303
        assert "next=" in sent.headers["location"]
        assert one.get("/console/calls.csv", headers={"accept": "*/*"}).status_code == 401

        form = {"accept": "text/html", "content-type": "application/x-www-form-urlencoded"}
        wrong = one.post(sent.headers["location"], content="key=sk-splice-x-y", headers=form)
        assert wrong.status_code == 401
        assert "set-cookie" not in wrong.headers
        foreign = one.post(
            "/console/sign-in", content=f"key={token}",
            headers={**form, "origin": "https://evil.example.com"},
        )  # fmt: skip
        assert foreign.status_code == 403

        right = one.post(sent.headers["location"], content=f"key={token}", headers=form)

        assert right.status_code == 303
        assert right.headers["location"] == "/console/calls?range=24h"
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=Strict" in cookie
        assert "Path=/console" in cookie
        body = one.get("/console").text
        assert "orders" in body
        assert "refunds" not in body
        assert one.get("/console/integrations/refunds").status_code == 404
        assert one.get("/console/sign-out").status_code == 405
        out = one.post("/console/sign-out", headers={"sec-fetch-site": "same-origin"})
        assert "Max-Age=0" in out.headers["set-cookie"]


@pytest.mark.parametrize(
    "after",
    ["https://evil.example.com", "//evil.example.com", "/console//evil", "/other", "/console\\x",
     "/console/calls\r\nset-cookie: a=b", "javascript:alert(1)"],
)  # fmt: skip
def test_the_sign_in_leads_to_no_other_place(console: Server, after: str) -> None:
    from splice.console.access import next_of

    assert next_of(after, "/console") == "/console"
    assert next_of("/console/calls?range=1h", "/console") == "/console/calls?range=1h"


def test_a_key_reads_the_calls_of_its_tenant_only(tmp_path: Path) -> None:
    app = splice.App(project=_orders(tmp_path))
    with TestClient(app.asgi(), base_url="http://localhost") as one:
        mine, other = (key_for(app, tenant=tenant) for tenant in ("a", "b"))
        asked = {"customer": "c-77", "amount": 5.0}
        until(lambda: one.get("/console").status_code != 200)
        url = "/v1/integrations/orders/calls"
        call_id = one.post(url, json=asked, headers={"x-api-key": mine}).json()["call_id"]
        path = f"/console/calls/{call_id}"
        until(lambda: one.get(path, headers={"x-api-key": mine}).status_code == 200)

        assert one.get(path, headers={"x-api-key": other}).status_code == 404
        assert "c-77" in one.get("/console/calls", headers={"x-api-key": mine}).text
        for page_of in ("/console/calls", "/console/live", "/console/calls.csv"):
            assert "c-77" not in one.get(page_of, headers={"x-api-key": other}).text


def test_mounted_the_console_keeps_its_addresses(tmp_path: Path) -> None:
    from fastapi import FastAPI

    app = splice.App(project=_orders(tmp_path))
    outer = FastAPI(lifespan=app.lifespan)
    outer.mount("/ai", app.asgi())
    with TestClient(outer, base_url="http://localhost") as one:
        body = one.get("/ai/console").text
        found = set(re.findall(r'(?:href|src|action)="([^"#]+)"', body))

        assert found
        assert all(one_of.startswith("/ai/console") for one_of in found)
        for path in found:
            assert one.get(path.replace("&amp;", "&")).status_code == 200, path


def test_without_its_extra_the_console_says_what_to_install(tmp_path: Path) -> None:
    folder = _orders(tmp_path)
    script = """
import sys
sys.modules["jinja2"] = None
import splice
from starlette.testclient import TestClient
with TestClient(splice.App(project=".").asgi(), base_url="http://localhost") as one:
    answer = one.get("/console")
    print(answer.status_code, answer.text)
    assert one.get("/healthz").status_code == 200
"""
    ran = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )

    assert ran.stdout.startswith("501"), ran.stderr
    assert "splice-ai[console]" in ran.stdout


def test_the_base_product_starts_without_anything_of_the_console() -> None:
    script = (
        "import sys, splice, splice.cli.main, splice.cli.tree, splice.app.server\n"
        "splice.cli.tree.tree()\n"
        "heavy = {'jinja2', 'altair', 'vl_convert', 'numpy', 'datasketches'} & set(sys.modules)\n"
        "print(sorted(heavy))"
    )
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert ran.stdout.strip() == "[]"


def test_switched_off_there_is_no_console(tmp_path: Path) -> None:
    folder = _orders(tmp_path)
    (folder / "splice.toml").write_text("[console]\nenabled = false\n")
    with TestClient(splice.App(project=folder).asgi(), base_url="http://localhost") as one:
        assert one.get("/console").status_code == 404
