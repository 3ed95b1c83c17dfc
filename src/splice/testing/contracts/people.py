"""What every PeopleStore must hold to.

Inherit `PeopleStoreContract` and give it the fixtures `people`, a store that is empty, and `audit`,
the AuditLog of the same ledger.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import pytest

from splice.core.access import Change, Grant, Role
from splice.core.errors import NotAllowed, StoreError
from splice.core.people import Person, Session, principal_of
from splice.ports.audit import AuditLog
from splice.ports.people import PeopleStore

NOW_US = 1_793_880_000_000_000
ANNA = Person("anna@example.com", "Anna", "https://login.test", "a-1")
BY_OLGA = Change("olga", NOW_US, "on call")
VIEWER = (Grant(Role.VIEWER, ("triage",)),)


def session(number: int, person: Person = ANNA, until_us: int = NOW_US + 1000) -> Session:
    """A session made by a test."""
    return Session(f"d{number}", person.id, f"s{number}", NOW_US, until_us, (), "10.0.0.1")


def _json(value: Any) -> Any:
    return msgspec.json.decode(msgspec.json.encode(value))


class PeopleStoreContract:
    """Whoever signed in is in until he is out, everywhere; roles are what was granted last."""

    def test_a_session_says_who_it_is_of_until_it_is_over(self, people: PeopleStore) -> None:
        stored = people.sign_in(ANNA, session(1), BY_OLGA)

        assert stored.seen_us == stored.created_us == NOW_US
        assert people.session("d1", NOW_US + 999) == (stored, session(1))
        assert people.session("d1", NOW_US + 1000) is None
        assert people.session("d2", NOW_US) is None
        assert people.person(ANNA.id) == stored

    def test_an_answer_of_the_provider_opens_one_session(self, people: PeopleStore) -> None:
        people.sign_in(ANNA, session(1), BY_OLGA)
        again = msgspec.structs.replace(session(2), state="s1")

        with pytest.raises(NotAllowed, match="used before"):
            people.sign_in(ANNA, again, BY_OLGA)

        assert people.session("d2", NOW_US) is None

    def test_of_two_who_come_with_one_answer_one_is_let_in(self, people: PeopleStore) -> None:
        def come(number: int) -> bool:
            try:
                one = msgspec.structs.replace(session(number), state="same")
                people.sign_in(ANNA, one, BY_OLGA)
            except NotAllowed:
                return False
            return True

        with ThreadPoolExecutor(4) as pool:
            let_in = list(pool.map(come, range(8)))

        assert sum(let_in) == 1

    def test_a_sign_out_ends_one_session_and_another_all(self, people: PeopleStore) -> None:
        for number in range(3):
            people.sign_in(ANNA, session(number), BY_OLGA)

        assert people.sign_out("d0", BY_OLGA)
        assert not people.sign_out("d0", BY_OLGA)
        assert people.session("d0", NOW_US) is None
        assert people.session("d1", NOW_US) is not None
        assert people.sign_out_everywhere(ANNA.id, BY_OLGA) == 2
        assert people.session("d1", NOW_US) is None

    def test_roles_are_given_before_and_after_somebody_signs_in(
        self, people: PeopleStore, audit: AuditLog
    ) -> None:
        people.put_grants(ANNA.id, VIEWER, BY_OLGA)
        stored = people.sign_in(ANNA, session(1), BY_OLGA)
        more = (*VIEWER, Grant(Role.REVIEWER))
        people.put_grants(ANNA.id, more, Change("olga", NOW_US + 1))

        found = people.session("d1", NOW_US)

        assert stored.grants == VIEWER
        assert found is not None
        assert found[0].grants == more
        assert principal_of(*found).grants == more
        told = [one for one in audit.events() if one.action == "person.grant"]
        assert [(one.by, one.why, one.before, one.after) for one in told] == [
            ("olga", "on call", [], [{"role": "viewer", "integrations": ["triage"]}]),
            ("olga", "", _json(VIEWER), _json(more)),
        ]

    def test_a_name_belongs_to_the_account_that_had_it_first(self, people: PeopleStore) -> None:
        people.sign_in(ANNA, session(1), BY_OLGA)
        other = msgspec.structs.replace(ANNA, subject="m-6")

        with pytest.raises(NotAllowed, match="another account"):
            people.sign_in(other, session(2, other), BY_OLGA)
        people.forget(ANNA.id, BY_OLGA)
        stored = people.sign_in(other, session(3, other), BY_OLGA)

        assert (stored.subject, stored.grants) == ("m-6", ())
        assert people.session("d1", NOW_US) is None

    def test_whoever_is_barred_is_out_and_stays_out(
        self, people: PeopleStore, audit: AuditLog
    ) -> None:
        people.sign_in(ANNA, session(1), BY_OLGA)

        barred = people.bar(ANNA.id, True, BY_OLGA)

        assert barred.barred_us == NOW_US
        assert people.session("d1", NOW_US) is None
        with pytest.raises(NotAllowed, match="barred"):
            people.sign_in(ANNA, session(2), BY_OLGA)
        people.bar(ANNA.id, False, BY_OLGA)
        assert people.sign_in(ANNA, session(3), BY_OLGA).barred_us is None
        done = [one.action for one in audit.events()]
        assert done == ["person.sign-in", "person.bar", "person.admit", "person.sign-in"]

    def test_nobody_can_be_changed_who_is_not_there(
        self, people: PeopleStore, audit: AuditLog
    ) -> None:
        with pytest.raises(StoreError, match="nobody@x"):
            people.bar("nobody@x", True, BY_OLGA)
        with pytest.raises(StoreError, match="nobody@x"):
            people.forget("nobody@x", BY_OLGA)

        assert people.people() == []
        assert audit.events() == []

    def test_people_are_listed_by_their_names(self, people: PeopleStore) -> None:
        for name in ("zoe@x", "anna@x"):
            people.put_grants(name, VIEWER, BY_OLGA)

        assert [one.id for one in people.people()] == ["anna@x", "zoe@x"]

    def test_sessions_that_are_over_are_not_kept(self, people: PeopleStore) -> None:
        people.sign_in(ANNA, session(1, until_us=NOW_US + 5), BY_OLGA)
        people.sign_in(ANNA, session(2), Change("olga", NOW_US + 6))

        assert people.sign_out_everywhere(ANNA.id, BY_OLGA) == 1
