"""`splice keys …` and `splice budgets …`: what is shown, what is asked, what is kept."""

from __future__ import annotations

import random
import re

import pytest

from splice.adapters.ledgers.sql import open_ledger
from splice.core.access import key_digest
from splice.testing.contracts.records import simple_record

TOKEN = re.compile(r"sk-splice-([a-z0-9]{10})-[A-Za-z0-9_-]{43}")


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A migrated ledger: migrating anew for each test would take most of the time."""
    folder = tmp_path_factory.mktemp("template")
    open_ledger(f"sqlite:///{folder}/ledger.db", folder).close()
    return (folder / "ledger.db").read_bytes()


@pytest.fixture
def command(command, template):
    (command.folder / ".splice").mkdir()
    (command.folder / ".splice" / "ledger.db").write_bytes(template)
    return command


@pytest.fixture
def ledger(command):
    opened = open_ledger(
        f"sqlite:///{command.folder}/.splice/ledger.db", command.folder, migrate=False
    )
    yield opened
    opened.close()


def create(command, name: str = "ci", *options: str) -> str:
    """Id of a new key."""
    ran = command("keys", "create", name, *options)
    assert ran.code == 0, ran.err
    return TOKEN.fullmatch(ran.out.strip())[1]


def test_the_secret_is_all_that_is_printed_and_it_is_printed_once(command, ledger) -> None:
    ran = command(
        "keys", "create", "ci", "--team", "growth", "--integrations", "chat, credit-*",
        "--models", "openai/*", "--addresses", "10.0.0.0/8", "--expires", "90d",
        "--requests-per-minute", "60", "--tokens-per-minute", "1000",
        "--budget", "EUR 50/month", "--budget", "EUR 2.50/day",
    )  # fmt: skip

    token = ran.out.strip()
    (key,) = ledger.keys.access().keys
    assert TOKEN.fullmatch(token)[1] == key.id
    assert key.digest == key_digest(token, b"")
    assert (key.integrations, key.models) == (("chat", "credit-*"), ("openai/*",))
    assert "EUR 50.00 a month, EUR 2.50 a day" in ran.err
    assert token not in ran.err
    for words in (("list", "--all"), ("list", "--json"), ("show", "ci"), ("show", "ci", "--json")):
        shown = command("keys", *words)
        assert shown.code == 0
        assert token[-43:] not in shown.out + shown.err
        assert key.digest not in shown.out + shown.err


def test_json_of_a_new_key_has_the_secret_and_not_the_digest(command, ledger) -> None:
    ran = command("keys", "create", "ci", "--budget", "EUR 1/day", "--json")

    (key,) = ledger.keys.access().keys
    assert ran.json["id"] == key.id
    assert TOKEN.fullmatch(ran.json["secret"])
    assert ran.json["budgets"][0]["amount_nano"] == 10**9
    assert key.digest not in ran.out


def test_the_pepper_of_the_settings_is_in_the_digest(command, ledger, monkeypatch) -> None:
    command.settings('[access]\npepper_env = "SALT"\n')

    without = command("keys", "create", "ci")
    monkeypatch.setenv("SALT", "s3cret")
    ran = command("keys", "create", "ci")

    (key,) = ledger.keys.access().keys
    assert (without.code, "SALT" in without.err) == (2, True)
    assert key.digest == key_digest(ran.out.strip(), b"s3cret")
    assert "s3cret" not in ran.out + ran.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--expires", "soon"), "expires"),
        (("--addresses", "nowhere"), "addresses"),
        (("--budget", "USD 5/month"), "the account's currency"),
        (("--integrations", ","), "integrations"),
        (("--requests-per-minute", "0"), "requests-per-minute"),
    ],
)
def test_what_cannot_be_read_is_wrong_usage_and_makes_no_key(command, ledger, words, told) -> None:
    ran = command("keys", "create", "ci", *words)

    assert (ran.code, ran.out) == (2, "")
    assert told in ran.err
    assert ledger.keys.access().keys == ()


def test_a_name_in_use_is_refused(command) -> None:
    create(command)

    ran = command("keys", "create", "ci")

    assert ran.code == 1
    assert "another key has" in ran.err


def test_a_key_is_revoked_after_it_was_shown_and_only_with_a_yes(command) -> None:
    key_id = create(command, "ci", "--team", "growth")

    asked = command("keys", "revoke", "ci")
    still = command("keys", "list", "--json").json
    done = command("keys", "revoke", "ci", "--yes")
    again = command("keys", "revoke", key_id, "--yes")

    assert asked.code == 1
    assert "growth" in asked.err
    assert [one["id"] for one in still] == [key_id]
    assert (done.code, done.out) == (0, f"Key {key_id} (ci) is revoked.\n")
    assert (again.code, "revoked already" in again.err) == (0, True)
    assert command("keys", "list", "--json").json == []
    (shown,) = command("keys", "list", "--all", "--json").json
    assert (shown["id"], shown["state"]) == (key_id, "revoked")


def test_a_rotated_key_keeps_its_id_and_gets_another_secret(command, ledger) -> None:
    first = command("keys", "create", "ci").out.strip()

    refused = command("keys", "rotate", "ci")
    rotated = command("keys", "rotate", "ci", "-y").out.strip()

    (key,) = ledger.keys.access().keys
    assert (refused.code, refused.out) == (1, "")
    assert TOKEN.fullmatch(rotated)[1] == TOKEN.fullmatch(first)[1] == key.id
    assert rotated != first
    assert key.digest == key_digest(rotated, b"")


def test_a_key_that_is_not_there_is_wrong_usage(command) -> None:
    for words in (("show", "nobody"), ("revoke", "nobody", "-y"), ("rotate", "nobody", "-y")):
        ran = command("keys", *words)
        assert (ran.code, "no such key" in ran.err) == (2, True)


def test_names_are_text_and_never_markup(command) -> None:
    create(command, "[red]:warning:[/red]")

    assert "[red]:warning:[/red]" in command("keys", "list").out


def test_a_budget_is_set_changed_and_taken_away_each_shown_first(command, ledger) -> None:
    key_id = create(command)

    asked = command("budgets", "set", "EUR 50/month", "--key", "ci")
    unchanged = ledger.keys.access().budgets
    first = command("budgets", "set", "EUR 50/month", "--key", "ci", "-y")
    second = command("budgets", "set", "EUR 7.125", "--key", key_id, "-y")
    same = command("budgets", "set", "EUR 7.125/month", "--key", key_id, "-y")
    shown = command("budgets", "list")
    gone = command("budgets", "delete", "month", "--key", "ci", "-y")
    twice = command("budgets", "delete", "month", "--key", "ci", "-y")

    assert (asked.code, unchanged) == (1, ())
    assert "none -> EUR 50.00 a month" in first.err
    assert "EUR 50.00 a month -> EUR 7.125 a month" in second.err
    assert "Nothing to change" in same.err
    assert re.search(rf"key {key_id} \(ci\) +EUR 7.125 a month +EUR 0", shown.out)
    assert "EUR 7.125 a month -> none" in gone.err
    assert (twice.code, ledger.keys.access().budgets) == (2, ())


def test_a_list_of_budgets_says_what_was_spent_of_each(command, ledger) -> None:
    key_id = create(command, "ci", "--team", "growth")
    for words in (("--key", "ci"), ("--team", "growth"), ("--all",), ("--integration", "triage")):
        assert command("budgets", "set", "EUR 9/total", *words, "-y").code == 0
    rng = random.Random(1)
    some = [simple_record(rng) for _ in range(3)]
    for record, (caller, cost) in zip(
        some, [(f"key:{key_id}", 5), ("", 7), ("", None)], strict=True
    ):
        record.caller, record.integration, record.cost_nano = caller, "triage", cost
    ledger.records.append(some)

    listed = command("budgets", "list", "--json").json

    assert {one["scope"]: one["spent_nano"] for one in listed} == {
        "key": 5, "team": 5, "all": 12, "integration": 12,
    }  # fmt: skip


@pytest.mark.parametrize("words", [(), ("--key", "ci", "--all"), ("--team", "")])
def test_a_budget_is_of_one_thing(command, ledger, words) -> None:
    create(command)

    ran = command("budgets", "set", "EUR 5", *words, "-y")

    assert (ran.code, "one of --key" in ran.err) == (2, True)
    assert ledger.keys.access().budgets == ()


def test_a_slip_in_a_name_is_pointed_out(command) -> None:
    ran = command("budgets", "set", "EUR 5", "--team", "growt", "-y")

    assert ran.code == 0
    assert "there is no team growt yet" in ran.err
