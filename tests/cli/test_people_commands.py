"""`splice people` and the roles and rotations of `splice keys`, as they are typed."""

from __future__ import annotations

import pytest


def test_a_role_is_given_to_whoever_will_sign_in_and_taken_away_again(command) -> None:
    assert command("people", "list").err.startswith("Nobody")

    given = command("people", "grant", "Anna@Example.com", "--role", "reviewer",
                    "--integration", "fraud-*,credit", "--why", "she knows fraud")  # fmt: skip
    command("people", "grant", "anna@example.com", "--role", "viewer")
    less = command("people", "ungrant", "anna@example.com", "--role", "reviewer",
                   "--integration", "credit")  # fmt: skip

    assert given.out == "anna@example.com: reviewer@fraud-*,credit\n"
    assert less.out == "anna@example.com: reviewer@fraud-*, viewer\n"
    [listed] = command("people", "list", "--json").json
    assert listed["id"] == "anna@example.com"
    assert listed["signed_in_at"] is None
    events = command("audit", "list", "--json").json
    assert [one["action"] for one in events] == ["person.grant"] * 3
    assert events[0]["why"] == "she knows fraud"
    assert events[0]["origin"]["surface"] == "cli"
    assert command("audit", "verify").code == 0


def test_somebody_is_barred_admitted_and_forgotten(command) -> None:
    command("people", "grant", "ben@x", "--role", "viewer")

    assert command("people", "bar", "ben@x").code == 1  # nobody said yes
    assert "barred" in command("people", "bar", "ben@x", "--yes").out
    assert "barred" in command("people", "list").out
    assert "may sign in again" in command("people", "admit", "ben@x").out
    assert "0 sessions" in command("people", "sign-out", "ben@x").out
    assert "forgotten" in command("people", "forget", "ben@x", "--yes").out
    assert command("people", "bar", "ben@x", "--yes").code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("people", "grant", "anna@x", "--role", "boss"),
        ("people", "grant", "an na", "--role", "viewer"),
        ("people", "grant", "anna@x", "--role", "viewer", "--integration", "a b"),
        ("people", "ungrant", "nobody@x"),
        ("keys", "create", "ci", "--role", "boss"),
    ],
)
def test_what_is_no_role_or_nobody_is_refused(command, arguments: tuple[str, ...]) -> None:
    assert command(*arguments).code == 2
    assert command("people", "list", "--json").json == []


def test_a_key_gets_roles_and_turns_its_secret_with_overlap(command) -> None:
    made = command("keys", "create", "ci", "--role", "viewer", "--role", "operator@orders",
                   "--json").json  # fmt: skip
    turned = command("keys", "rotate", "ci", "--overlap", "24 h", "--yes", "--json").json
    shown = command("keys", "show", "ci")

    assert made["roles"] == [
        {"role": "viewer", "integrations": ["*"]},
        {"role": "operator", "integrations": ["orders"]},
    ]
    assert turned["secret"] != made["secret"]
    assert turned["old_secret_until"] is not None
    assert "counts until" in shown.out
    assert made["secret"] not in shown.out
    assert command("keys", "ungrant", "ci").out.endswith("no role beside calling\n")
    granted = command("keys", "grant", "ci", "--role", "approver", "--integration", "orders").out
    assert granted.endswith("approver@orders\n")
    assert "two secrets" in command("check", "--access").out


def test_check_says_what_is_open_and_to_whom(orders) -> None:
    private = orders("check")
    orders.settings('[server]\nhost = "0.0.0.0"\n[access]\nkeys = "open"\n')
    public = orders("check")
    only = orders("check", "--access", "--json")

    assert "open:" not in private.err
    assert public.code == 0
    assert "anyone who reaches it may call" in public.err
    assert only.code == 1
    assert {one["level"] for one in only.json} <= {"open", "note"}
