"""What every KeyStore must hold to.

Inherit `KeyStoreContract` and give it the fixtures `keys`, a store that is empty, and `records`,
the RecordStore of the same ledger.
"""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from splice.core.access import Budget, BudgetScope, Grant, Key, Period, Role
from splice.core.errors import StoreError
from splice.ports.keys import KeyStore
from splice.ports.stores import RecordStore
from splice.testing.contracts.records import simple_record

NOW_US = 1_793_880_000_000_000
FULL = Key(
    id="k1", name="Größe ✓ 'x'", digest="ab" * 32, team="growth", tenant="acme",
    integrations=("triage", "credit-*"), models=("openai/*", "é/ü"), addresses=("10.0.0.0/8",),
    expires_us=NOW_US + 5, requests_per_minute=60, tokens_per_minute=10**12, created_us=NOW_US,
    by="anna", grants=(Grant(Role.REVIEWER, ("triage",)), Grant(Role.VIEWER)),
    former="ef" * 32, former_until_us=NOW_US + 3,
)  # fmt: skip
BARE = Key(id="k2", name="bare", digest="cd" * 32, created_us=NOW_US + 1)


def budget(
    amount: int, scope: BudgetScope = BudgetScope.TEAM, of: str = "growth",
    period: Period = Period.MONTH,
) -> Budget:  # fmt: skip
    """A budget made by a test."""
    return Budget(scope, of, period, amount)


class KeyStoreContract:
    """Keys are kept and never lost; budgets are set; what was spent is summed exactly."""

    def test_a_key_is_read_back_as_it_was_stored(self, keys: KeyStore) -> None:
        keys.add_key(BARE)
        keys.add_key(FULL)

        assert keys.key("k1") == FULL
        assert keys.key("k2") == BARE
        assert keys.access().keys == (FULL, BARE)
        assert keys.key("k3") is None

    def test_an_id_is_given_once(self, keys: KeyStore) -> None:
        keys.add_key(BARE)

        with pytest.raises(StoreError, match="k2"):
            keys.add_key(msgspec.structs.replace(FULL, id="k2"))
        assert keys.access().keys == (BARE,)

    def test_an_update_leaves_alone_when_by_whom_and_whether_it_ended(self, keys: KeyStore) -> None:
        keys.add_key(FULL)
        revoked = keys.revoke_key("k1", NOW_US + 7)
        wanted = msgspec.structs.replace(
            BARE, id="k1", digest="ef" * 32, created_us=1, by="mallory", revoked_us=None
        )

        stored = keys.update_key(wanted)

        assert stored == keys.key("k1")
        assert stored == msgspec.structs.replace(
            wanted, created_us=FULL.created_us, by=FULL.by, revoked_us=revoked.revoked_us
        )

    def test_a_key_is_revoked_once_and_for_good(self, keys: KeyStore) -> None:
        keys.add_key(FULL)

        first = keys.revoke_key("k1", NOW_US + 7)
        second = keys.revoke_key("k1", NOW_US + 9)

        assert first == second == msgspec.structs.replace(FULL, revoked_us=NOW_US + 7)
        assert keys.access().keys == (first,)

    def test_a_key_that_is_not_there_cannot_be_changed(self, keys: KeyStore) -> None:
        with pytest.raises(StoreError, match="no key k1"):
            keys.update_key(FULL)
        with pytest.raises(StoreError, match="no key k1"):
            keys.revoke_key("k1", NOW_US)
        assert keys.access().keys == ()

    def test_a_budget_is_set_and_set_again(self, keys: KeyStore) -> None:
        others = [
            budget(1, period=Period.DAY), budget(2, of="ops"), budget(3, BudgetScope.KEY),
            budget(4, BudgetScope.ALL, ""),
        ]  # fmt: skip
        for one in others:
            keys.put_budget(one)

        keys.put_budget(budget(50))
        keys.put_budget(budget((1 << 63) - 1))

        stored = keys.access().budgets
        assert sorted(stored, key=repr) == sorted([*others, budget((1 << 63) - 1)], key=repr)
        assert [(one.scope, one.of) for one in stored] == sorted(
            (one.scope, one.of) for one in stored
        )

    def test_a_budget_is_taken_away_whatever_its_amount(self, keys: KeyStore) -> None:
        keys.put_budget(budget(50))
        keys.put_budget(budget(5, period=Period.DAY))

        assert keys.delete_budget(budget(0))
        assert not keys.delete_budget(budget(0))
        assert keys.access().budgets == (budget(5, period=Period.DAY),)

    def test_every_change_is_another_generation(self, keys: KeyStore) -> None:
        seen = [keys.generation()]
        for change in (
            lambda: keys.add_key(FULL),
            lambda: keys.update_key(FULL),
            lambda: keys.put_budget(budget(1)),
            lambda: keys.put_budget(budget(2)),
            lambda: keys.delete_budget(budget(2)),
            lambda: keys.revoke_key("k1", NOW_US),
        ):
            change()
            seen.append(keys.generation())
            assert keys.access().generation == seen[-1]

        assert seen == sorted(set(seen))
        assert keys.generation() == seen[-1]

    def test_many_who_change_at_once_all_count(self, keys: KeyStore) -> None:
        before = keys.generation()

        def change(number: int) -> None:
            keys.add_key(msgspec.structs.replace(FULL, id=f"k{number}"))
            keys.put_budget(budget(number))

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(change, range(24)))

        access = keys.access()
        assert access.generation == before + 48
        assert {one.id for one in access.keys} == {f"k{number}" for number in range(24)}
        assert len(access.budgets) == 1

    def test_what_was_spent_is_summed_by_key_team_and_integration(
        self, keys: KeyStore, records: RecordStore
    ) -> None:
        keys.add_key(FULL)
        keys.add_key(msgspec.structs.replace(BARE, team="growth"))
        keys.add_key(msgspec.structs.replace(BARE, id="k3", team="ops"))
        rng = random.Random(1)
        costs = [
            ("key:k1", "triage", 10**15 + 1), ("key:k1", "credit", 2), ("key:k2", "triage", 3),
            ("key:k3", "triage", 4), ("key:gone", "triage", 5), ("", "triage", 6),
            ("key:k1", "triage", None), ("k1", "triage", 7),
        ]  # fmt: skip
        some = [simple_record(rng) for _ in costs]
        for record, (caller, integration, cost) in zip(some, costs, strict=True):
            record.caller, record.integration, record.cost_nano = caller, integration, cost
        records.append(some)

        spending = keys.spending(0)

        assert spending.total == 10**15 + 28
        assert spending.of(BudgetScope.ALL, "") == spending.total
        assert spending.by_key == {"k1": 10**15 + 3, "k2": 3, "k3": 4, "gone": 5}
        assert spending.by_team == {"growth": 10**15 + 6, "ops": 4}
        assert spending.by_integration == {"triage": 10**15 + 26, "credit": 2}
        assert spending.of(BudgetScope.KEY, "k2") == 3
        assert spending.of(BudgetScope.TEAM, "nobody") == 0

    def test_only_calls_since_then_count(self, keys: KeyStore, records: RecordStore) -> None:
        rng = random.Random(1)
        some = [simple_record(rng) for _ in range(3)]
        for number, record in enumerate(some):
            record.asked_us, record.cost_nano, record.caller = NOW_US + number, 1, "key:k1"
        records.append(some)

        spent = [keys.spending(NOW_US + number).total for number in range(4)]

        assert spent == [3, 2, 1, 0]

    def test_nothing_spent_is_nothing(self, keys: KeyStore) -> None:
        spending = keys.spending(0)

        assert [spending.of(scope, "x") for scope in BudgetScope] == [0, 0, 0, 0]
