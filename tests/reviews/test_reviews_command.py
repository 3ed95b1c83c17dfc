"""`splice reviews …`: the queue of a project where no server runs, and what one says of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from reviews_house import RULE, SOURCE

import splice

DEAR: dict[str, Any] = {"customer": "c-1", "amount": 900}


@pytest.fixture
def asked(command: Any) -> Callable[..., str]:
    """Declares claims and asks one; gives the id of its review."""

    def ask(more: str = "", **claim: Any) -> str:
        source = SOURCE.replace("ROUTE", RULE).replace("MORE", more)
        command.write("integrations.py", source)
        assert command("release", "apply", "--yes").code == 0

        async def once() -> None:
            async with splice.App(project=command.folder) as app:
                await app.call("claims", {**DEAR, **claim})

        asyncio.run(once())
        return command("reviews", "list", "--json").json[0]["id"]

    return ask


def test_what_waits_is_listed_and_decided(command: Any, asked: Callable[..., str]) -> None:
    review_id = asked(text="\x1b[31mred")

    listed = command("reviews", "list")
    shown = command("reviews", "show", review_id, "--why")
    done = command("reviews", "decide", review_id, "approve", "--yes")
    again = command("reviews", "decide", review_id, "approve", "--yes")

    assert review_id in listed.out
    assert "action is review" in listed.out
    assert "a rule answered" in shown.out
    assert "\x1b" not in shown.out
    assert done.out.strip() == f"{review_id} is decided."
    assert (again.code, "[overtaken]" in again.err) == (1, True)
    assert command("reviews", "list").out == ""
    assert review_id in command("reviews", "list", "--state", "decided").out
    new = command("reviews", "again", review_id, "--why", "a mistake", "--json").json
    assert new["corrects"] == review_id
    events = command("audit", "list", "--json").json
    assert [one["action"] for one in events[-2:]] == ["review.approve", "review.again"]


def test_a_decision_is_corrected_with_a_reason(command: Any, asked: Callable[..., str]) -> None:
    review_id = asked()
    right = '{"chance": 0.2, "action": "pay"}'
    override = ("reviews", "decide", review_id, "override", "--yes")

    for options, says in (
        (
            (),
            "override: got no --reply and no --reason, expected --reply: JSON of chance (number), "
            "action (pay, review); --reason: one of wrong amount, fraud",
        ),
        (("--reply", right), "--reason: one of wrong amount, fraud"),
        (("--reply", right, "--reason", "mood"), "got --reason 'mood', expected --reason: one of"),
        (("--reply", "{", "--reason", "fraud"), "claims.reply"),
        (("--reply", "@nowhere.json", "--reason", "fraud"), "--reply"),
    ):  # fmt: skip
        ran = command(*override, *options)
        assert (ran.code, says in ran.err) == (2, True), ran.err
    file = command.write("right.json", right)
    bare = command("reviews", "decide", review_id)
    assert (bare.code, "one of approve, override, escalate" in bare.err) == (2, True)
    done = command(*override, "--reply", f"@{file}", "--reason", "fraud", "--json").json
    told = command("calls", "explain", done["call_id"]).out

    assert done["state"] == "decided"
    assert done["verdicts"][0]["reply"] == {"chance": 0.2, "action": "pay"}
    verdict = done["verdicts"][0]
    when = f"{verdict['at'][:16].replace('T', ' ')} UTC"
    assert f"Overridden by {verdict['by']}, {when}: fraud\n  chance: 0.2\n  action: pay" in told


def test_nothing_is_decided_without_being_asked(command: Any, asked: Callable[..., str]) -> None:
    review_id = asked()

    ran = command("reviews", "decide", review_id, "approve")

    assert (ran.code, "add --yes" in ran.err) == (1, True)
    assert command("reviews", "show", review_id, "--json").json["review"]["state"] == "open"


def test_one_person_is_no_four_eyes_at_the_command_line_either(
    command: Any, asked: Callable[..., str]
) -> None:
    review_id = asked("four_eyes=True")

    first = command("reviews", "decide", review_id, "approve", "--yes")
    again = command("reviews", "decide", review_id, "approve", "--yes")

    assert first.out.strip() == f"{review_id} is open: a second person decides."
    assert (again.code, "a second time" in again.err) == (1, True)


def test_what_is_not_there_is_told(command: Any, asked: Callable[..., str]) -> None:
    asked()

    assert "[unknown_review]" in command("reviews", "show", "x").err
    assert command("reviews", "list", "--state", "asleep").code == 2
    assert command("reviews", "list", "refunds").out == ""
