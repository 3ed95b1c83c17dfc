"""Keys and budgets as people write them: what is taken, what is refused, what is kept."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from splice.adapters.ledgers.sql import open_ledger
from splice.control.keys import KeyRequest, Keys, expiry
from splice.core.access import (
    Budget,
    BudgetScope,
    Change,
    Grant,
    Period,
    Permission,
    Principal,
    Role,
    grant_of,
    grants_text,
    without,
)
from splice.core.errors import InputMismatch, RefusedError, RequestError
from splice.engine.keyring import Keyring
from splice.ports.audit import AuditLog
from splice.ports.keys import KeyStore

NOW_US = 1_793_880_000_000_000  # 2026-11-05
DAY_US = 86_400_000_000


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("template")
    open_ledger(f"sqlite:///{folder}/ledger.db", folder).close()
    return folder / "ledger.db"


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Iterator[KeyStore]:
    (tmp_path / "ledger.db").write_bytes(template.read_bytes())
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path)
    yield ledger.keys
    ledger.close()


@pytest.fixture
def audit(store: KeyStore, tmp_path: Path) -> Iterator[AuditLog]:
    ledger = open_ledger(f"sqlite:///{tmp_path}/ledger.db", tmp_path)
    yield ledger.audit
    ledger.close()


@pytest.fixture
def keys(store: KeyStore) -> Keys:
    return Keys(store, pepper=b"pepper", currency="EUR")


BY_ANNA = Change("anna", NOW_US, "a test")


def make(keys: Keys, name: str = "ci", **asked: object):
    return keys.create(KeyRequest(name=name, **asked), by="anna", now_us=NOW_US)


def test_a_new_key_opens_the_door_and_its_secret_is_nowhere(keys, store, tmp_path) -> None:
    issued = make(
        keys, team="growth", tenant="acme", integrations=("chat", "credit-*"), models=("openai/*",),
        addresses=("10.1.2.3/8", "::1"), expires="90d", requests_per_minute=60,
        tokens_per_minute=1000, budgets=("EUR 50/month", "EUR 5 / day"),
    )  # fmt: skip
    ring = Keyring(mode="required", pepper=b"pepper", clock=lambda: NOW_US)
    ring.replace(store.access().keys)

    key = ring.principal(issued.token, "10.0.0.1").key

    assert key == issued.key == store.key(issued.key.id)
    assert msgspec.structs.replace(key, id="", digest="") == msgspec.convert(
        {
            "id": "", "name": "ci", "digest": "", "team": "growth", "tenant": "acme",
            "integrations": ["chat", "credit-*"], "models": ["openai/*"],
            "addresses": ["10.0.0.0/8", "::1/128"], "expires_us": NOW_US + 90 * DAY_US,
            "requests_per_minute": 60, "tokens_per_minute": 1000, "created_us": NOW_US,
            "by": "anna",
        },
        type(key),
    )  # fmt: skip
    assert store.access().budgets == (
        Budget(BudgetScope.KEY, key.id, Period.DAY, 5 * 10**9),
        Budget(BudgetScope.KEY, key.id, Period.MONTH, 50 * 10**9),
    )
    secret = issued.token[-43:]
    assert secret not in repr(issued)
    for file in tmp_path.glob("ledger.db*"):
        assert secret.encode() not in file.read_bytes()


def test_no_two_keys_are_alike(keys) -> None:
    some = [make(keys, f"key {number}") for number in range(20)]

    assert len({one.key.id for one in some}) == 20
    assert len({one.token[-43:] for one in some}) == 20
    assert all(len(one.token) == len("sk-splice-") + 10 + 1 + 43 for one in some)


@pytest.mark.parametrize(
    ("asked", "where"),
    [
        ({"name": ""}, "name"),
        ({"name": " x"}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"name": "x" * 81}, "name"),
        ({"name": "a\u202eb"}, "name"),
        ({"name": "a\ud800b"}, "name"),
        ({"team": "two words"}, "team"),
        ({"tenant": "-"}, "tenant"),
        ({"integrations": ()}, "integrations"),
        ({"integrations": ("a b",)}, "integrations"),
        ({"models": ("",)}, "models"),
        ({"addresses": ("10.0.0.0/33",)}, "addresses"),
        ({"addresses": ("example.com",)}, "addresses"),
        ({"expires": "soon"}, "expires"),
        ({"expires": "2026-01-01"}, "expires"),
        ({"expires": "0 s"}, "expires"),
        ({"expires": "99999999999 d"}, "expires"),
        ({"requests_per_minute": 0}, "requests-per-minute"),
        ({"tokens_per_minute": -5}, "tokens-per-minute"),
        ({"tokens_per_minute": 1 << 63}, "tokens-per-minute"),
        ({"budgets": ("50",)}, "budget"),
        ({"budgets": ("EUR 50/year",)}, "budget"),
        ({"budgets": ("EUR 50/month/day",)}, "budget"),
        ({"budgets": ("EUR -1/month",)}, "budget"),
        ({"budgets": ("EUR 10_000_000_000/month",)}, "budget"),
        ({"budgets": ("USD 50/month",)}, "budget"),
        ({"budgets": ("EUR 1/day", "EUR 2/day")}, "budget"),
        ({"budgets": ("EUR " + "9" * 5000,)}, "budget"),
    ],
)
def test_what_cannot_be_read_is_named_and_nothing_is_kept(keys, store, asked, where) -> None:
    with pytest.raises(InputMismatch) as caught:
        keys.create(KeyRequest(**{"name": "ci", **asked}), by="anna", now_us=NOW_US)

    assert caught.value.where == where
    assert len(str(caught.value)) < 400
    assert store.access().keys == ()
    assert store.access().budgets == ()


@pytest.mark.parametrize(
    ("text", "us"),
    [
        ("", None),
        ("  ", None),
        ("90d", NOW_US + 90 * DAY_US),
        ("1 h", NOW_US + DAY_US // 24),
        ("2026-12-01", 1_796_083_200_000_000),
        ("2026-12-01T01:00:00+01:00", 1_796_083_200_000_000),
    ],
)
def test_an_end_is_a_time_from_now_or_a_date(text: str, us: int | None) -> None:
    assert expiry(text, NOW_US) == us


def test_a_name_in_use_is_refused_and_one_of_a_revoked_key_is_free(keys, store) -> None:
    first = make(keys).key

    with pytest.raises(RefusedError, match="another key"):
        make(keys, budgets=("EUR 1/day",))
    assert store.access().budgets == ()
    keys.revoke(first, BY_ANNA)
    second = make(keys).key

    assert keys.find("ci") == second
    assert keys.find(first.id).revoked_us == NOW_US


def test_a_key_is_found_by_id_before_name(keys) -> None:
    first = make(keys).key
    second = make(keys, first.id).key

    assert keys.find(first.id) == first
    assert keys.find(second.id) == second
    with pytest.raises(RequestError, match="no such key"):
        keys.find("nobody")


def test_a_rotated_key_has_another_secret_and_all_the_rest(keys, store) -> None:
    issued = make(keys, team="growth", budgets=("EUR 1/day",))
    ring = Keyring(mode="required", pepper=b"pepper", clock=lambda: NOW_US)

    rotated = keys.rotate(issued.key, BY_ANNA)
    ring.replace(store.access().keys)

    assert ring.principal(rotated.token, "").key == rotated.key
    assert msgspec.structs.replace(rotated.key, digest=issued.key.digest) == issued.key
    with pytest.raises(RequestError):
        ring.principal(issued.token, "")
    revoked = keys.revoke(rotated.key, BY_ANNA)
    with pytest.raises(RefusedError, match="revoked"):
        keys.rotate(revoked, BY_ANNA)


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("EUR 50/month", (Period.MONTH, 50 * 10**9)),
        ("EUR 50", (Period.MONTH, 50 * 10**9)),
        ("EUR 0.000000001/HOUR", (Period.HOUR, 1)),
        ("EUR 1_000.50 / total", (Period.TOTAL, 1000 * 10**9 + 5 * 10**8)),
        ("EUR 0/week", (Period.WEEK, 0)),
    ],
)
def test_a_budget_is_an_amount_and_a_period(keys, text, budget) -> None:
    assert keys.budget(BudgetScope.TEAM, "growth", text) == Budget(
        BudgetScope.TEAM, "growth", *budget
    )
    assert keys.budget(BudgetScope.ALL, "growth", text).of == ""


def test_after_a_rotation_with_overlap_both_secrets_count_until_it_is_over(keys, store) -> None:
    issued = make(keys)
    clock = [NOW_US]
    ring = Keyring(mode="required", pepper=b"pepper", clock=lambda: clock[0])

    rotated = keys.rotate(issued.key, BY_ANNA, overlap="24 h")
    ring.replace(store.access().keys)

    for token in (issued.token, rotated.token):
        assert ring.principal(token, "").caller == f"key:{issued.key.id}"
    clock[0] += 86_400_000_000 - 1
    assert ring.principal(issued.token, "").key == rotated.key
    clock[0] += 1
    with pytest.raises(RequestError, match="before it was rotated"):
        ring.principal(issued.token, "")
    assert ring.principal(rotated.token, "").key == rotated.key


def test_a_second_rotation_ends_what_the_first_left_valid(keys, store) -> None:
    first = make(keys)
    second = keys.rotate(first.key, BY_ANNA, overlap="24 h")
    third = keys.rotate(second.key, BY_ANNA, overlap="1 h")
    ring = Keyring(mode="required", pepper=b"pepper", clock=lambda: NOW_US)
    ring.replace(store.access().keys)

    for token in (second.token, third.token):
        assert ring.principal(token, "").key == third.key
    with pytest.raises(RequestError):
        ring.principal(first.token, "")
    keys.revoke(third.key, BY_ANNA)
    ring.replace(store.access().keys)
    for token in (second.token, third.token):
        with pytest.raises(RequestError, match="revoked"):
            ring.principal(token, "")


@pytest.mark.parametrize("overlap", ["0 s", "91d", "soon", "-1 h", "EUR 3"])
def test_an_overlap_is_a_time_that_ends(keys, overlap: str) -> None:
    with pytest.raises(InputMismatch, match="overlap"):
        keys.rotate(make(keys).key, BY_ANNA, overlap=overlap)


def test_every_change_of_a_key_is_told_without_its_secret(keys, store, audit) -> None:
    issued = make(keys, budgets=("EUR 1/day",), why="a start")
    key = keys.grant(issued.key, (grant_of("reviewer@fraud-*"),), BY_ANNA)
    keys.rotate(key, BY_ANNA, overlap="1 h")
    keys.revoke(key, BY_ANNA)

    events = audit.events()

    assert [one.action for one in events] == [
        "budget.set", "key.create", "key.change", "key.rotate", "key.revoke",
    ]  # fmt: skip
    assert {one.by for one in events} == {"anna"}
    assert [one.why for one in events[:2]] == ["a start", "a start"]
    assert events[2].after["grants"] == [{"role": "reviewer", "integrations": ["fraud-*"]}]
    assert "grants" not in events[2].before
    assert issued.key.digest not in repr(events)


@pytest.mark.parametrize("text", ["boss", "", "viewer@", "viewer@a b", "viewer@\x00", "@x"])
def test_what_is_no_role_is_refused(text: str) -> None:
    with pytest.raises(InputMismatch, match="role"):
        grant_of(text)


def test_roles_are_read_written_and_taken_away_as_they_stand() -> None:
    grants = tuple(grant_of(one) for one in ("viewer", "Reviewer@fraud-*,credit", "operator@x"))

    assert grants_text(grants) == "viewer, reviewer@fraud-*,credit, operator@x"
    assert grants_text(without(grants, Role.REVIEWER, ("credit",))) == (
        "viewer, reviewer@fraud-*, operator@x"
    )
    assert grants_text(without(grants, Role.VIEWER, ())) == "reviewer@fraud-*,credit, operator@x"
    assert without(grants, None, ()) == ()


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("permission", Permission)
def test_a_role_permits_what_it_says_and_only_where_it_was_given(
    role: Role, permission: Permission
) -> None:
    who = Principal("person:x", name="x", grants=(Grant(role, ("fraud-*",)),))
    allowed = {
        Role.VIEWER: "see",
        Role.OPERATOR: "see operate",
        Role.REVIEWER: "see review",
        Role.APPROVER: "see review approve",
        Role.ADMIN: "see operate review approve administer",
    }

    assert who.may(permission, "fraud-screening") == (permission in allowed[role].split())
    assert not who.may(permission, "credit")
    assert not who.may_call("fraud-screening")
