"""What every AuditLog, ValidationStore and LeaseStore must hold to.

Inherit a contract and give it a fixture of the store's name: one that is empty.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from splice.core.audit import FIRST, first_broken
from splice.core.validation import Approval, GateResult, Validation
from splice.ports.audit import AuditLog
from splice.ports.leases import LeaseStore
from splice.ports.validations import ValidationStore


class AuditLogContract:
    """Events make one chain, whoever writes them. Fixture: `audit`."""

    def test_events_are_numbered_and_chained(self, audit: AuditLog) -> None:
        first = audit.add_event("model.register", "credit@1", by="ada", now_us=1, why="new ✗")
        second = audit.add_event("model.promote", "credit@1", by="bob", now_us=2, details={"a": 1})

        assert (first.number, first.previous) == (1, FIRST)
        assert (second.number, second.previous) == (2, first.sha256)
        assert audit.events() == [first, second]
        assert first_broken(audit.events()) is None

    def test_a_subject_finds_its_versions_and_not_its_namesakes(self, audit: AuditLog) -> None:
        for subject in ("credit", "credit@2", "credit-decision", "credit_@1", "creditx@1"):
            audit.add_event("x", subject, by="ada", now_us=1)

        assert [one.subject for one in audit.events(subject="credit")] == ["credit", "credit@2"]
        assert [one.number for one in audit.events(since=2, limit=2)] == [3, 4]

    def test_many_writers_make_one_chain(self, audit: AuditLog) -> None:
        def write(n: int) -> None:
            audit.add_event("x", f"{n}", by="a", now_us=n)

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(write, range(40)))

        events = audit.events()
        assert [one.number for one in events] == list(range(1, 41))
        assert first_broken(events) is None


def _validation(version: int, at_us: int) -> Validation:
    results = (GateResult("auc", passed=version > 1, measured=0.75, bound=0.7, low=0.7, high=0.8),)
    return Validation(
        "credit-decision", "credit", version, "a" * 64, "holdout", "b" * 64, 300, "c" * 64,
        at_us, 0, "ada", results,
    )  # fmt: skip


class ValidationStoreContract:
    """Validations and approvals come back as they went in. Fixture: `validations`."""

    def test_validations_come_newest_first(self, validations: ValidationStore) -> None:
        one, two, other = _validation(1, 1), _validation(2, 3), _validation(1, 2)
        for each in (one, two, other, one):
            validations.add_validation(each)

        assert validations.validations("credit") == [two, other, one]
        assert validations.validations("credit", 1) == [other, one]
        assert validations.validations("churn") == []
        assert [each.passed for each in (one, two)] == [False, True]

    def test_approvals_belong_to_one_validation(self, validations: ValidationStore) -> None:
        digest = _validation(1, 1).digest
        first = Approval("credit-decision", "credit", 1, "a" * 64, digest, "bob", 5, "looked at")
        second = Approval("credit-decision", "credit", 1, "a" * 64, digest, "eve", 6)
        validations.add_approval(first)
        validations.add_approval(second)

        assert validations.approvals(digest) == [first, second]
        assert validations.approvals("0" * 64) == []


class LeaseStoreContract:
    """One of several holds a lease. Fixture: `leases`."""

    def test_a_lease_is_one_holders_until_its_time(self, leases: LeaseStore) -> None:
        assert leases.take_lease("steward", "a", 0, 100)
        assert leases.take_lease("steward", "a", 50, 100)
        assert not leases.take_lease("steward", "b", 149, 100)
        assert leases.take_lease("steward", "b", 150, 100)
        assert not leases.take_lease("steward", "a", 151, 100)

    def test_a_lease_of_a_clock_far_ahead_holds_nobody_off(self, leases: LeaseStore) -> None:
        assert leases.take_lease("steward", "a", 3_600_000, 100)

        assert leases.take_lease("steward", "b", 10, 100)

    def test_a_lease_given_back_is_free(self, leases: LeaseStore) -> None:
        leases.take_lease("steward", "a", 0, 100)
        leases.give_lease("steward", "b")
        assert not leases.take_lease("steward", "b", 1, 100)

        leases.give_lease("steward", "a")

        assert leases.take_lease("steward", "b", 1, 100)

    def test_of_many_at_once_one_gets_it(self, leases: LeaseStore) -> None:
        def take(n: int) -> bool:
            return leases.take_lease("x", f"{n}", 0, 100)

        with ThreadPoolExecutor(8) as pool:
            got = list(pool.map(take, range(16)))

        assert got.count(True) == 1
