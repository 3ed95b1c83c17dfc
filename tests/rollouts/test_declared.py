"""What a declaration says of rollouts is read, and each mistake is named with its mend."""

from __future__ import annotations

from typing import Any

import pytest
from rollout_house import DECLARED, model

from splice.cli.common import stores
from splice.control.rollouts import Rollouts, Who

MODELLED = DECLARED.replace("ROLLOUT", "")
TEMPLATE = """
import splice


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Screening(splice.Reply):
    risk: float


def scorecard(context):
    return 0.1


def other(context):
    return 0.9


class Orders(splice.Integration):
    '''Find the orders that will not be paid.'''

    routes = [splice.Rule(scorecard)]
    {line}

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score)
"""


def check(command: Any, line: str) -> Any:
    command.write("integrations.py", TEMPLATE.format(line=line))
    return command("check")


def guards(arguments: str) -> str:
    return f"rollout = splice.Rollout(guards=[splice.Guard({arguments})])"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rollout = 0.1", "expected  a splice.Rollout"),
        ("rollout = splice.Rollout(share='110 %')", "a share such as"),
        ("rollout = splice.Rollout(share=0.1, steps=('1 %',))", "share and steps"),
        ("rollout = splice.Rollout(steps=('10 %', '5 %'))", "shares above 0 that grow"),
        ("rollout = splice.Rollout(steps=('0 %', '5 %'))", "shares above 0 that grow"),
        ("rollout = splice.Rollout(steps=('5 %',), every='soon')", "a duration such as"),
        ("rollout = splice.Rollout(steps=('5 %',), min_calls=0)", "a whole number above 0"),
        ("rollout = splice.Rollout(steps=('5 %',), then='party')", '"hold" or "promote"'),
        ("rollout = splice.Rollout(challenger=splice.Rule(other))", "a challenger without a share"),
        ("rollout = splice.Rollout(challenger='x', share=0.1)", "a list of routes"),
        ("rollout = splice.Rollout(guards=['errors'])", "a splice.Guard"),
        (guards("figure='speed', at_most=1"), "one of errors"),
        (guards("figure='errors'"), "without a bound"),
        (guards("figure='cost', at_most='12'"), "money such as"),
        (guards("figure='errors', at_most=float('nan')"), "a share from 0 to 1"),
        (guards("figure='errors', at_most=2"), "a share from 0 to 1"),
        (guards("figure='cost', at_most=-1"), "not below 0"),
        (guards("figure='latency_p95', at_most=float('inf')"), "a duration"),
        (guards("figure='latency_p95', at_most='x'"), "duration"),
        ("shadow = splice.Rule(other)", "a splice.Shadow"),
        ("shadow = splice.Shadow(splice.Rule(other), share='two')", "a share such as"),
        ("shadow = splice.Shadow(splice.Model('nothing'))", "not registered"),
        ("rollouts = splice.Rollout(share=0.1)", "rollout, perhaps"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_where_it_stands(command: Any, line: str, said: str) -> None:
    ran = check(command, line)

    assert ran.code == 1
    assert said in ran.err
    assert "integrations.py:" in ran.err


def test_a_declared_challenger_of_any_kind_starts_with_its_release(command: Any) -> None:
    line = (
        "rollout = splice.Rollout(challenger=splice.Rule(other), steps=('20 %', '50 %'), "
        "guards=[splice.Guard(figure='errors', at_most=0.1)])"
    )
    assert check(command, line).code == 0

    applied = command("release", "apply", "-y")
    status = command("rollout", "status", "--json").json
    again = command("release", "apply", "-y")

    assert applied.code == 0
    assert status[0]["share"] == 0.2
    assert status[0]["rollout"]["variants"][0]["routes"][0]["label"] == "rule:other@challenger"
    assert "Nothing to apply." in again.err


def test_a_release_tells_what_it_changes_of_the_rollout(command: Any) -> None:
    check(command, "")
    command("release", "apply", "-y")
    check(command, "rollout = splice.Rollout(challenger=splice.Rule(other), share='20 %')")

    shown = command("release", "diff")

    assert "rollout: nothing -> other source" in shown.out
    assert "for 20 %" in shown.out


def test_a_rollout_that_a_command_moved_stays_where_it_is_when_other_code_is_applied(
    command: Any,
) -> None:
    line = "rollout = splice.Rollout(challenger=splice.Rule(other), steps=('20 %', '50 %'))"
    check(command, line)
    command("release", "apply", "-y")
    command("rollout", "set", "orders", "--share", "50 %", "-y")
    command.write("integrations.py", TEMPLATE.format(line=line).replace("return 0.1", "return 0.2"))

    command("release", "apply", "-y")

    assert command("rollout", "status", "--json").json[0]["share"] == 0.5


def test_a_step_that_is_taken_back_by_a_person_is_taken_back_by_rollback(command: Any) -> None:
    check(command, "rollout = splice.Rollout(challenger=splice.Rule(other), share='20 %')")
    command("release", "apply", "-y")
    command("rollout", "set", "orders", "--share", "50 %", "-y")

    ran = command("release", "rollback", "orders", "-y")

    assert "Release 1 of orders is live (was 2)." in ran.out
    assert command("rollout", "status", "--json").json[0]["share"] == 0.2


def test_guards_on_the_command_line_are_read(command: Any) -> None:
    check(command, "")
    command("release", "apply", "-y")

    ran = command(
        "rollout", "start", "orders", "x@1", "--share", "5 %", "--guard", "speed<=1", "-y"
    )
    other = command(
        "rollout", "start", "orders", "x@1", "--share", "5 %", "--guard", "errors", "-y"
    )

    assert "one of errors" in ran.err
    assert "FIGURE<=BOUND" in other.err


def test_a_rollout_ends_with_its_declaration(command: Any) -> None:
    check(command, "rollout = splice.Rollout(challenger=splice.Rule(other), share='20 %')")
    command("release", "apply", "-y")
    check(command, "shadow = splice.Shadow(splice.Rule(other), share='50 %')")
    command("release", "apply", "-y")
    shadowed = command("rollout", "status", "--json").json
    check(command, "")
    ran = command("release", "apply", "-y")

    assert [("share" in one, one["rollout"]["shadow_share"]) for one in shadowed] == [(False, 5000)]
    assert "shadow: other source" in ran.out
    assert command("rollout", "status", "--json").json == []


def test_what_was_shown_is_not_applied_over_what_went_live_since(
    command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    check(command, "rollout = splice.Rollout(challenger=splice.Rule(other), share='20 %')")
    command("release", "apply", "-y")
    check(command, "rollout = splice.Rollout(challenger=splice.Rule(other), share='30 %')")

    def meanwhile(*_: Any) -> bool:
        with stores() as (_settings, opened):
            Rollouts(opened.releases, opened.models).stop("orders", Who("bob", "bad", 5))
        return True

    monkeypatch.setattr("splice.cli.release.confirm", meanwhile)
    ran = command("release", "apply")

    assert ran.code == 1
    assert "[overtaken]" in ran.err
    assert command("rollout", "status", "--json").json == []


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--steps", "50 %, 10 %"), "shares above 0 that grow"),
        (("--steps", "0 %, 5 %"), "shares above 0 that grow"),
        (("--share", "5 %", "--guard", "errors<=2"), "a share from 0 to 1"),
        (("--share", "5 %", "--guard", "errors<=inf"), "a share from 0 to 1"),
        (("--share", "5 %", "--guard", "cost<=EUR -1"), "not below 0"),
    ],
)
def test_a_command_takes_no_more_than_a_declaration(
    command: Any, options: tuple[str, ...], said: str
) -> None:
    command.write("integrations.py", MODELLED)
    (command.folder / "one.onnx").write_bytes(model(0.25))
    (command.folder / "two.onnx").write_bytes(model(0.75))
    for name in ("one", "two"):
        command("models", "add", "orders", f"{name}.onnx")
    command("release", "apply", "-y")

    ran = command("rollout", "start", "orders", "orders@2", *options, "-y")

    assert ran.code == 1
    assert said in ran.err


def test_the_end_of_a_rollout_is_told_where_it_stood(command: Any) -> None:
    check(command, "rollout = splice.Rollout(challenger=splice.Rule(other), share='20 %')")
    command("release", "apply", "-y")
    command("rollout", "stop", "orders", "-y", "--why", "seen enough")

    told = command("rollout", "status")

    assert "No rollout is running." in told.err
    assert "orders  last: rollout.stop by" in told.err
    assert "seen enough" in told.err
