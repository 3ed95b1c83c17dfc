"""A prompted route, from the declaration to the ledger, at a real server and a real model."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import msgspec
import pytest

import splice
from splice.core.call import Record
from splice.testing.openai_server import OpenAIServer, Scripted
from splice.testing.project import Project

SECRET = "canary-key-8f1d20c7a9"

DECLARED = '''
from typing import Literal
import splice


class Ticket(splice.Request):
    customer: splice.Entity
    text: str


class Triage(splice.Reply):
    queue: Literal["billing", "technical", "unsorted"]


class Tickets(splice.Integration):
    """Bring each ticket to its queue."""

    deadline = "3 s"
    routes = [
        splice.LLM("remote/small", prompt="triage.md", params={"temperature": 0.0}, timeout="1 s"),
        splice.Rule(lambda context: {"queue": "unsorted"}),
    ]

    async def context(self, ticket: Ticket, look: splice.Lookup) -> dict:
        plan = await look.features("plan", ticket.customer)
        return {"text": ticket.text, "plan": plan.get("plan", "free")}

    def decide(self, ticket: Ticket, prediction: splice.Prediction) -> Triage:
        value = prediction.value
        return value if isinstance(value, Triage) else Triage(**value)
'''
PROMPT = "## system\nSort tickets of {{plan}} customers.\n\n## user\n{{text}}\n"


def project(folder: Path, base_url: str) -> Project:
    made = Project(
        folder,
        f"""
[project]
apply = "new"
[providers.remote]
base_url = "{base_url}"
api_key_env = "REMOTE_KEY"
aliases = {{ small = "small-2026-11" }}
[providers.remote.prices.small-2026-11]
input = 2.0
output = 8.0
[features]
url = "sqlite:///{folder}/crm.db"
[features.views]
plan = "SELECT plan, as_of FROM customers WHERE id = :entity"
""",
    )
    made.declare(DECLARED)
    (folder / "triage.md").write_text(PROMPT)
    with sqlite3.connect(folder / "crm.db") as crm:
        crm.execute("CREATE TABLE customers (id TEXT, plan TEXT, as_of TEXT)")
        crm.execute("INSERT INTO customers VALUES ('c-1', 'gold', '2026-11-01T00:00:00+00:00')")
    crm.close()
    return made


def ask(made: Project, monkeypatch: pytest.MonkeyPatch) -> splice.App:
    monkeypatch.setenv("REMOTE_KEY", SECRET)
    return splice.App(project=made.folder)


def answer(queue: str) -> Scripted:
    return Scripted(text=f'{{"queue":"{queue}"}}')


async def test_the_model_answers_in_the_reply_type_and_its_tokens_are_priced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer() as server:
        server.script(answer("billing"))
        async with ask(project(tmp_path / "p", server.base_url), monkeypatch) as app:
            answered = await app.ask("tickets", {"customer": "c-1", "text": "refund please"})

        asked = server.asked[0].body
        record = answered.record
        assert msgspec.json.decode(record.reply or b"") == {"queue": "billing"}
        assert record.version.startswith("small-2026-11 prompt ")
        usage = record.attempts[0].usage
        assert usage is not None
        tokens = (usage.input_tokens or 0) * 2000 + (usage.output_tokens or 0) * 8000
        assert record.cost_nano == tokens > 0
        assert asked["model"] == "small-2026-11"
        assert asked["messages"] == [
            {"role": "system", "content": "Sort tickets of gold customers."},
            {"role": "user", "content": "refund please"},
        ]
        assert asked["response_format"]["type"] == "json_schema"
        assert asked["temperature"] == 0.0


@pytest.mark.parametrize(
    ("fault", "ended"),
    [
        (Scripted(status=500), "provider_failed"),
        (Scripted(status=429, headers={"retry-after": "7"}), "provider_limited"),
        (Scripted(text="certainly! billing"), "bad_answer"),
        (Scripted(text='{"queue":"sales"}'), "bad_answer"),
        (Scripted(delay_s=5.0), "timeout"),
    ],
)
async def test_whatever_the_provider_does_the_next_route_answers_and_says_why(
    fault: Scripted, ended: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer() as server:
        server.script(fault)
        async with ask(project(tmp_path / "p", server.base_url), monkeypatch) as app:
            answered = await app.ask("tickets", {"customer": "c-1", "text": "hello"})

    record = answered.record
    assert [one.ended for one in record.attempts] == [ended, "answered"]
    assert record.attempts[0].why
    assert record.reason == "fallback"
    assert msgspec.json.decode(record.reply or b"") == {"queue": "unsorted"}


async def test_a_replay_takes_the_features_of_then_not_of_now(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with OpenAIServer() as server:
        server.script(answer("billing"), answer("technical"))
        made = project(tmp_path / "p", server.base_url)
        async with ask(made, monkeypatch) as app:
            first = await app.ask("tickets", {"customer": "c-1", "text": "refund"})
            await app.services.recorder.flush()
            with sqlite3.connect(made.folder / "crm.db") as crm:
                crm.execute("UPDATE customers SET plan = 'cancelled'")
            crm.close()
            recorded, replayed = await app.replay(first.record.call_id)

        assert recorded.gathered[0].values == {"plan": "gold"}
        assert recorded.gathered[0].age_s is not None
        assert server.asked[1].body["messages"][0]["content"] == "Sort tickets of gold customers."
        assert _reply(recorded) == {"queue": "billing"}
        assert _reply(replayed.record) == {"queue": "technical"}


def _reply(record: Record) -> object:
    return msgspec.json.decode(record.reply or b"null")


async def test_the_provider_key_is_in_nothing_that_is_written_or_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    with OpenAIServer() as server:
        server.script(
            Scripted(status=401, raw=f'{{"error":{{"message":"bad key {SECRET}"}}}}'.encode()),
            Scripted(text=SECRET),
        )
        made = project(tmp_path / "p", server.base_url)
        async with ask(made, monkeypatch) as app:
            answers = [
                await app.ask("tickets", {"customer": "c-1", "text": "hello"}) for _ in range(2)
            ]
            await app.services.recorder.flush()
            shown = repr(app.settings) + repr(app.services.providers) + str(app.degraded())
            stored = [repr(app.services.stores.records.get(one.record.call_id)) for one in answers]
            authorization = server.asked[0].headers.get("authorization")

    assert authorization == f"Bearer {SECRET}"
    assert SECRET not in shown + repr(answers) + "".join(stored) + caplog.text
    files = [file for file in made.folder.rglob("*") if file.is_file()]
    assert not [file.name for file in files if SECRET.encode() in file.read_bytes()]


@pytest.mark.model
async def test_the_embedded_model_answers_in_the_type_at_machine_cost(tmp_path: Path) -> None:
    made = Project(tmp_path / "p", '[project]\napply = "new"\n[cost]\nmachine_hour = 0.05\n')
    made.declare(
        DECLARED.replace("remote/small", "local/smollm2-135m-instruct")
        .replace('timeout="1 s"', 'timeout="60 s"')
        .replace('deadline = "3 s"', 'deadline = "90 s"')
        .replace('await look.features("plan", ticket.customer)', "{}")
        .replace('params={"temperature": 0.0}', 'params={"temperature": 0.0, "max_tokens": 32}')
    )
    (made.folder / "triage.md").write_text(PROMPT)

    async with splice.App(project=made.folder) as app:
        answered = await app.ask("tickets", {"customer": "c-1", "text": "The app crashes"})

    record = answered.record
    assert record.reason == "first", record.attempts
    assert _reply(record) in ({"queue": "billing"}, {"queue": "technical"}, {"queue": "unsorted"})
    assert record.cost_nano is not None
    assert record.cost_nano > 0
    usage = record.attempts[0].usage
    assert usage is not None
    assert (usage.input_tokens or 0) > 10
