"""`splice prompts`: versions in releases, their differences, and trials over recorded calls."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import splice
from splice.core.call import Record
from splice.ports.stores import CallFilter
from splice.testing.openai_server import OpenAIServer, Scripted

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

    deadline = "5 s"
    routes = [
        splice.LLM("remote/small", prompt="triage.md", timeout="2 s"),
        splice.Rule(lambda context: {"queue": "unsorted"}),
    ]

    def context(self, ticket: Ticket, look: splice.Lookup) -> dict:
        return {"text": ticket.text, "length": len(ticket.text)}

    def decide(self, ticket: Ticket, prediction: splice.Prediction) -> Triage:
        value = prediction.value
        return value if isinstance(value, Triage) else Triage(**value)
'''
PROMPT = "## system\nSort tickets.\nBe quick.\n\n## user\n{{text}}\n"
CANDIDATE = """
+++
[variables]
text = { type = "str", max_length = 100 }
length = "int"
+++
## system
Sort tickets.
Be exact.

## user
{{text}} ({{length}})
"""


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        running.always = queue("billing")
        yield running


@pytest.fixture
def tickets(command, server: OpenAIServer):
    command.settings(
        f'[providers.remote]\nbase_url = "{server.base_url}"\n'
        "[providers.remote.prices.small]\ninput = 2.0\noutput = 8.0\n"
    )
    command.write("integrations.py", DECLARED)
    command.write("triage.md", PROMPT)
    ran = command("release", "apply", "--yes")
    assert ran.code == 0, ran.err
    return command


def queue(name: str) -> Scripted:
    return Scripted(text=f'{{"queue":"{name}"}}')


def in_app(command, work: Callable[[splice.App], Any]) -> Any:
    async def run() -> Any:
        async with splice.App(project=command.folder, apply="never") as app:
            return await work(app)

    return asyncio.run(run())


def ask(command, *texts: str) -> list[Record]:
    """Records of calls, in the order of the texts."""

    async def work(app: splice.App) -> list[Record]:
        asked = [await app.ask("tickets", {"customer": "c-1", "text": t}) for t in texts]
        return [one.record for one in asked]

    return in_app(command, work)


def recorded(command) -> list[Record]:
    async def work(app: splice.App) -> list[Record]:
        return app.records.find(CallFilter(integration="tickets", limit=1000))

    return in_app(command, work)


def second_release(command) -> None:
    command.write("triage.md", CANDIDATE)
    ran = command("release", "apply", "--yes")
    assert ran.code == 0, ran.err


# --- list and diff -------------------------------------------------------------------------------


def test_versions_are_listed_by_release_and_the_live_one_is_marked(tickets) -> None:
    second_release(tickets)

    listed = tickets("prompts", "list", "--json").json
    shown = tickets("prompts", "list", "tickets").out.splitlines()

    assert [(one["release"], one["live"], one["path"]) for one in listed] == [
        (2, True, "triage.md"), (1, False, "triage.md"),
    ]  # fmt: skip
    assert listed[0]["version"] != listed[1]["version"]
    assert all(one["sha256"].startswith(one["version"]) for one in listed)
    assert "live" in shown[1]
    assert listed[1]["version"] in shown[2]


def test_without_prompts_there_is_nothing_to_list(applied, command) -> None:
    applied()

    ran = command("prompts", "list")

    assert (ran.code, ran.out) == (0, "")
    assert "No release has a prompt" in ran.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("tickets", "--from", "1", "--to", "2"),
        ("tickets", "--from", "1"),
        ("tickets", "--to", "2"),
        ("triage.md@1", "triage.md@2"),
        ("triage.md@1", "triage.md@live"),
        ("triage.md@tickets:1", "triage.md"),
        ("triage.md@1",),
    ],
)
def test_a_diff_is_by_part_with_the_variables_that_changed(
    tickets, arguments: tuple[str, ...]
) -> None:
    second_release(tickets)

    ran = tickets("prompts", "diff", *arguments)

    assert ran.code == 0, ran.err
    lines = ran.out.splitlines()
    assert lines[1:] == [
        "  variable text: anything -> str, at most 100 characters",
        "  variable length: nothing -> int",
        "  ## system",
        "  @@ -1,2 +1,2 @@",
        "   Sort tickets.",
        "  -Be quick.",
        "  +Be exact.",
        "  ## user",
        "  @@ -1 +1 @@",
        "  -{{text}}",
        "  +{{text}} ({{length}})",
    ]


def test_a_file_alone_is_compared_with_what_is_live(tickets) -> None:
    assert tickets("prompts", "diff", "triage.md").err.strip() == "No difference."

    tickets.write("triage.md", PROMPT.replace("quick", "slow"))
    found = tickets("prompts", "diff", "triage.md", "--json").json

    assert found[0]["variables"] == []
    assert found[0]["parts"][0]["part"] == "system"
    assert found[0]["parts"][0]["lines"][-2:] == ["-Be quick.", "+Be slow."]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nothing.md",), 2, "no such file"),
        (("nothing.md@1", "triage.md"), 2, "no release with that prompt"),
        (("triage.md@7", "triage.md"), 2, "no release with that prompt"),
        (("triage.md@x", "triage.md"), 2, "@INTEGRATION:3"),
        (("triage.md@nobody:1", "triage.md"), 2, "one of tickets"),
        (("tickets", "--from", "9"), 2, "no release 9"),
        (("nobody", "--to", "1"), 2, "no release 1"),
        (("triage.md", "triage.md", "--to", "1"), 2, "either of them"),
        (("broken.md", "triage.md@1"), 1, "broken.md:1: "),
    ],
)
def test_a_prompt_that_is_not_there_is_one_message(
    tickets, arguments: tuple[str, ...], code: int, said: str
) -> None:
    tickets.write("broken.md", "hello\n## user\nx\n")

    ran = tickets("prompts", "diff", *arguments)

    assert ran.code == code, ran.err
    assert ran.out == ""
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1


# --- try -----------------------------------------------------------------------------------------


def test_a_trial_asks_what_the_calls_saw_and_records_nothing(tickets, server: OpenAIServer) -> None:
    ask(tickets, "refund", "crash", "bill")
    tickets.write("better.md", CANDIDATE)
    before, asked = len(recorded(tickets)), len(server.asked)
    server.script(queue("billing"), queue("technical"), queue("billing"))

    ran = tickets("prompts", "try", "tickets", "--prompt", "better.md", "--at-once", "1", "--json")

    assert ran.code == 0, ran.err
    found = ran.json
    assert found["verdicts"] == {"same": 2, "changed": 1, "gained": 0, "lost": 0, "neither": 0}
    assert found["after"].startswith("small prompt ")
    assert found["before"] != found["after"]
    contents = [one.body["messages"][1]["content"] for one in server.asked[asked:]]
    assert contents == ["bill (4)", "crash (5)", "refund (6)"]  # newest first
    assert "Be exact." in server.asked[-1].body["messages"][0]["content"]
    changed = next(one for one in found["calls"] if one["verdict"] == "changed")
    assert changed["before"]["reply"] == {"queue": "billing"}
    assert changed["after"]["reply"] == {"queue": "technical"}
    # 12 tokens in at 2, 5 out at 8 for a million
    assert found["figures"]["after"]["cost_nano"] == 12 * 2000 + 5 * 8000
    assert found["figures"]["after"]["input_tokens"] == 12
    assert found["figures"]["before"]["typed"] == found["figures"]["after"]["typed"] == 1.0
    assert len(recorded(tickets)) == before == 3


def test_where_the_candidate_fails_no_other_route_hides_it(tickets, server: OpenAIServer) -> None:
    server.script(Scripted(text="no json"), queue("billing"), queue("billing"))
    ask(tickets, "one", "two", "three")
    tickets.write("better.md", CANDIDATE)
    server.script(Scripted(text="no json"), Scripted(status=500), queue("billing"))

    ran = tickets("prompts", "try", "tickets", "--prompt", "better.md", "--at-once", "1", "--json")

    found = ran.json
    assert found["verdicts"]["lost"] == 2
    assert found["verdicts"]["changed"] == 1  # the rule had answered it: unsorted
    assert found["figures"]["before"]["typed"] == pytest.approx(2 / 3)
    assert found["figures"]["after"]["typed"] == pytest.approx(1 / 2)
    assert found["figures"]["after"]["answered"] == 1
    lost = [one["after"]["why"] for one in found["calls"] if one["verdict"] == "lost"]
    assert all(one.startswith("exhausted: ") for one in lost)


def test_a_value_that_the_candidate_does_not_take_is_told(tickets, server: OpenAIServer) -> None:
    ask(tickets, "short", "a long ticket " * 20)
    tickets.write("better.md", CANDIDATE)

    found = tickets("prompts", "try", "tickets", "--prompt", "better.md", "--json").json

    lost = next(one for one in found["calls"] if one["verdict"] == "lost")
    assert found["verdicts"]["same"] == 1
    assert "expected str, at most 100 characters" in lost["after"]["why"]


def test_outcomes_tell_which_version_was_right(tickets, server: OpenAIServer) -> None:
    records = ask(tickets, "one", "two", "three")
    truth = ["technical", "technical", "billing"]

    async def tell(app: splice.App) -> None:
        for record, value in zip(records, truth, strict=True):
            await app.outcome("tickets", "queue", value, call_id=record.call_id)

    in_app(tickets, tell)
    tickets.write("better.md", CANDIDATE)
    server.always = queue("technical")

    found = tickets("prompts", "try", "tickets", "--prompt", "better.md", "--json").json
    shown = tickets("prompts", "try", "tickets", "--prompt", "better.md").out

    assert found["figures"]["before"]["right"] == pytest.approx(1 / 3)
    assert found["figures"]["after"]["right"] == pytest.approx(2 / 3)
    assert found["figures"]["after"]["judged"] == 3
    assert [one["outcomes"]["queue"] for one in found["calls"]] == truth[::-1]
    assert "33.3 % of 3" in shown
    assert "66.7 % of 3" in shown


def test_no_answer_is_a_wrong_one_where_the_other_can_be_judged(
    tickets, server: OpenAIServer
) -> None:
    records = ask(tickets, "one")

    async def tell(app: splice.App) -> None:
        await app.outcome("tickets", "real_queue", "billing", call_id=records[0].call_id)

    in_app(tickets, tell)
    tickets.write("better.md", CANDIDATE)
    server.always = Scripted(status=500)

    arguments = ("prompts", "try", "tickets", "--prompt", "better.md", "--json")
    by_name = tickets(*arguments).json
    by_field = tickets(*arguments, "--outcome", "real_queue=queue").json

    assert by_name["calls"][0]["before_right"] is None
    assert by_field["calls"][0]["before_right"] is True
    assert by_field["calls"][0]["after_right"] is False


def test_against_asks_an_older_release_again(tickets, server: OpenAIServer) -> None:
    ask(tickets, "one")
    second_release(tickets)
    tickets.write("third.md", PROMPT.replace("quick", "slow"))
    asked = len(server.asked)
    server.script(queue("technical"), queue("unsorted"))

    found = tickets(
        "prompts", "try", "tickets", "--prompt", "third.md", "--against", "1", "--json"
    ).json

    row = found["calls"][0]
    assert (row["before"]["reply"], row["after"]["reply"]) == (
        {"queue": "technical"}, {"queue": "unsorted"},
    )  # fmt: skip
    assert found["before_release"] == 1
    systems = [one.body["messages"][0]["content"] for one in server.asked[asked:]]
    assert systems == ["Sort tickets.\nBe quick.", "Sort tickets.\nBe slow."]


def test_the_table_and_the_file_tell_the_same(tickets, server: OpenAIServer) -> None:
    ask(tickets, "one", "two")
    tickets.write("better.md", CANDIDATE)
    server.always = queue("technical")

    ran = tickets("prompts", "try", "tickets", "--prompt", "better.md", "--out", "rows.jsonl")

    rows = [json.loads(one) for one in (tickets.folder / "rows.jsonl").read_text().splitlines()]
    assert [one["verdict"] for one in rows] == ["changed", "changed"]
    assert "answers 2 changed" in ran.out
    assert "2 of 2" in ran.out
    assert all(one["call_id"] in ran.out for one in rows)
    assert '{"queue":"technical"}' in ran.out


def test_calls_whose_texts_were_not_kept_are_passed_over_and_counted(
    tickets, server: OpenAIServer
) -> None:
    tickets.write(
        "integrations.py",
        DECLARED.replace("    routes =", "    log = splice.Log(keep=0)\n    routes ="),
    )
    assert tickets("release", "apply", "--yes").code == 0
    ask(tickets, "gone")
    tickets.write("better.md", CANDIDATE)

    ran = tickets("prompts", "try", "tickets", "--prompt", "better.md")

    assert ran.code == 0
    assert "1 its texts were not kept" in ran.err
    assert "could be asked again" in ran.err


def test_only_so_many_calls_and_only_recent_ones(tickets, server: OpenAIServer) -> None:
    ask(tickets, *(f"t{i}" for i in range(7)))
    tickets.write("better.md", CANDIDATE)
    arguments = ("prompts", "try", "tickets", "--prompt", "better.md", "--json")

    few = tickets(*arguments, "--calls", "3").json
    recent = tickets(*arguments, "--since", "1 d").json
    future = tickets(*arguments, "--since", "2999-01-01").json

    assert len(few["calls"]) == 3
    assert len(recent["calls"]) == 7
    assert future["calls"] == []


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("nobody", "--prompt", "better.md"), 2, "no live release"),
        (("tickets", "--prompt", "gone.md"), 2, "no such file"),
        (("tickets", "--prompt", "empty.md"), 1, "user's turn"),
        (("tickets", "--prompt", "typed.md"), 1, "typed.md:3"),
        (("tickets", "--prompt", "better.md", "--against", "9"), 2, "no release 9"),
        (("tickets", "--prompt", "better.md", "--route", "llm:x"), 2, "no route llm:x"),
        (("tickets", "--prompt", "better.md", "--since", "soon"), 2, "--since"),
        (("tickets", "--prompt", "better.md", "--outcome", "queue"), 2, "OUTCOME=FIELD"),
    ],
)
def test_a_trial_that_cannot_be_is_one_message(
    tickets, arguments: tuple[str, ...], code: int, said: str
) -> None:
    tickets.write("better.md", CANDIDATE)
    tickets.write("empty.md", "## system\nonly this\n")
    tickets.write("typed.md", '+++\n[variables]\na = "txt"\n+++\n{{a}}\n')

    ran = tickets("prompts", "try", *arguments)

    assert ran.code == code, ran.err
    assert said in ran.err
    assert len(ran.err.strip().splitlines()) == 1
