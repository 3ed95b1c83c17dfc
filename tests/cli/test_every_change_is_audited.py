"""Each command either only reads, or is one whose change the audit log tells."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from typing import Any

import typer.main
from onnxruntime.datasets import get_example

from splice.cli.tree import tree

READS = {
    # What it prints or writes beside the ledger is all it does.
    "check", "accuracy", "drift", "report", "risk", "duties", "evidence", "experiment", "value",
    "release list", "release diff", "retrain list", "retrain show", "retrain compile",
    "rollout status", "cards model", "cards integration", "cards fria", "incidents list",
    "incidents show", "audit list", "audit show", "audit verify", "audit prove",
    "audit check-proof", "audit export", "calls list", "calls show", "calls explain",
    "calls replay", "events list", "events show", "events asyncapi", "events outbox list",
    "outbox ddl", "dashboard grafana", "dashboard rules", "models list", "models show",
    "models verify", "monitors list", "monitors show", "monitors alerts", "monitors test",
    "prompts list", "prompts diff", "prompts try", "subjects list", "encryption status",
    "reviews list", "reviews show", "keys list", "keys show", "people list", "budgets list",
    "policies list", "policies test", "models validity",
}  # fmt: skip

NO_CONTROL = {
    "init": "writes a folder; there is no ledger yet",
    "encryption init": "writes keys beside the ledger, before anything is encrypted",
    "serve": "answers calls, which are recorded; what it applies is release.live",
    "consume": "as serve",
    "relay": "sends what applications wrote",
    "batch": "asks calls, which are recorded",
    "events publish": "puts in events, whose calls are recorded",
    "monitors tell": "sends a message to try a channel",
    "audit head": "adds a signed head, which is kept for good itself",
    "retrain watch": "does runs, each audited as retrain run is",
}

AUDITED = {
    "stop": "integration.stop", "start": "integration.start", "release apply": "release.live",
    "release rollback": "release.live", "retrain run": "pipeline.", "retrain ask": "pipeline.",
    "rollout start": "rollout.", "rollout set": "rollout.", "rollout stop": "rollout.",
    "rollout finish": "rollout.", "rollout shadow": "rollout.",
    "incidents open": "incident.open", "incidents report": "incident.report",
    "incidents close": "incident.close", "incidents copy": "incident.",
    "incidents thaw": "freeze.lift",
    "audit init": "audit.init", "calls export": "calls.export", "events replay": "event.replay",
    "events drop": "event.drop", "events outbox send": "message.send_again",
    "outcomes add": "outcomes.add", "models add": "model.register",
    "models withdraw": "model.withdraw", "models restore": "model.restore",
    "models alias": "model.alias", "models card": "model.card", "models tag": "model.tags",
    "models sign": "model.sign", "models pull": "model.register", "models push": "model.push",
    "models sync": "model.sync", "models validate": "model.validate",
    "models revalidate": "model.revalidate",
    "models approve": "model.approve", "models promote": "model.promote",
    "models rollback": "model.rollback", "models endpoint": "model.register",
    "monitors ack": "monitor.acknowledge", "monitors mute": "monitor.mute",
    "subjects erase": "subject.erase", "subjects export": "subject.export",
    "encryption rotate": "encryption.rotate", "reviews decide": "review.", "reviews again":
    "review.", "keys create": "key.create", "keys revoke": "key.revoke", "keys rotate":
    "key.rotate", "keys grant": "key.change", "keys ungrant": "key.change",
    "people grant": "person.grant", "people ungrant": "person.grant", "people bar": "person.bar",
    "people admit": "person.admit", "people sign-out": "person.sign-out",
    "people forget": "person.forget", "budgets set": "budget.set",
    "budgets delete": "budget.delete",
}  # fmt: skip


def commands(group: Any = None, path: tuple[str, ...] = ()) -> Iterator[str]:
    """All there are, by their words."""
    group = typer.main.get_command(tree()) if group is None else group
    for name, one in group.commands.items():
        if hasattr(one, "commands"):
            yield from commands(one, (*path, name))
        else:
            yield " ".join((*path, name))


def test_every_command_is_known_to_read_or_to_be_audited() -> None:
    known = READS | set(NO_CONTROL) | set(AUDITED)

    assert set(commands()) - known == set(), "say which: does it change something?"
    assert known - set(commands()) == set(), "no such command any more"
    assert len(READS) + len(NO_CONTROL) + len(AUDITED) == len(known)


DOES: list[tuple[str, ...]] = [
    ("release", "apply", "--yes", "--why", "first"),
    ("stop", "order-screening", "--why", "a test"),
    ("start", "order-screening"),
    ("audit", "init"),
    ("calls", "export", "order-screening", "--out", "calls.csv"),
    ("outcomes", "add", "outcomes.jsonl"),
    ("models", "add", "scorer", "model.onnx"),
    ("models", "alias", "scorer@1", "checked"),
    ("models", "tag", "scorer@1", "team=risk"),
    ("models", "withdraw", "scorer@1", "--why", "a test"),
    ("models", "restore", "scorer@1"),
    ("budgets", "set", "EUR 5/day", "--all", "--yes"),
    ("budgets", "set", "EUR 6/day", "--all", "--yes"),
    ("budgets", "delete", "day", "--all", "--yes"),
    ("keys", "create", "shop"),
    ("people", "grant", "ada@example.com", "--role", "viewer"),
    ("people", "ungrant", "ada@example.com"),
    ("people", "bar", "ada@example.com", "--why", "a test", "--yes"),
    ("people", "admit", "ada@example.com"),
    ("people", "forget", "ada@example.com", "--yes"),
]  # fmt: skip

LOOKS: list[tuple[str, ...]] = [
    ("check",), ("release", "list"), ("release", "diff"), ("audit", "list"), ("audit", "show", "1"),
    ("audit", "verify"), ("audit", "export"), ("calls", "list"), ("events", "list"),
    ("events", "outbox", "list"), ("models", "list"), ("models", "verify"), ("monitors", "list"),
    ("monitors", "alerts"), ("keys", "list"), ("people", "list"), ("budgets", "list"),
    ("reviews", "list"), ("incidents", "list"), ("prompts", "list"), ("retrain", "list"),
]  # fmt: skip


def event_of(orders: Any, after: int) -> list[dict[str, Any]]:
    return orders("audit", "list", "--since", str(after), "--json").json


def test_commands_that_change_something_tell_what_it_was_and_what_it_became(orders: Any) -> None:
    orders.write("outcomes.jsonl", "")
    shutil.copy(get_example("mul_1.onnx"), orders.folder / "model.onnx")
    last, silent, blank = 0, list[str](), list[str]()
    for command in DOES:
        ran = orders(*command)
        assert ran.code == 0, (command, ran.err, ran.out)
        words = " ".join(command)
        known = next(one for one in AUDITED if words == one or words.startswith(f"{one} "))

        events = event_of(orders, last)

        last = events[-1]["number"] if events else last
        if not any(one["action"].startswith(AUDITED[known]) for one in events):
            silent.append(f"{words}: {[one['action'] for one in events]}")
        for one in events:
            told = one.get("before") is not None or one.get("after") is not None
            where = one["origin"]
            if not told or (where["surface"], where["command"]) != ("cli", f"splice {known}"):
                blank.append(f"{words}: {one}")
    assert silent == []
    assert blank == []


def test_commands_that_only_look_write_no_event(applied: Callable[..., Any], orders: Any) -> None:
    applied()
    for command in LOOKS:
        ran = orders(*command)
        assert "Traceback" not in ran.err
        assert ran.code == 0, (command, ran.err)

        assert len(event_of(orders, 0)) == 1, command
