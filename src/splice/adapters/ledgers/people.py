"""People who signed in, what roles they have, and their sessions."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import Connection, delete, insert, select, update

from splice.adapters.ledgers.audit import append_event
from splice.adapters.ledgers.database import Database
from splice.adapters.ledgers.people_tables import people, sessions
from splice.core.access import Change, Grant
from splice.core.errors import NotAllowed
from splice.core.people import Person, Session

_person = msgspec.json.Decoder(Person)
_session = msgspec.json.Decoder(Session)


class SqlPeople:
    """A PeopleStore in SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def people(self) -> list[Person]:
        """Everybody, by id."""
        with self._database.read() as connection:
            rows = connection.execute(select(people.c.body).order_by(people.c.id)).scalars()
            return [_person.decode(body) for body in rows]

    def person(self, person: str) -> Person | None:
        """One of them, or None."""
        with self._database.read() as connection:
            return _one(connection, person)

    def put_grants(self, person: str, grants: tuple[Grant, ...], change: Change) -> Person:
        """Give somebody these roles and no others; he need not have signed in yet."""
        with self._database.write() as connection:
            self._database.lock(connection, "people")
            before = _one(connection, person)
            old = before or Person(person, created_us=change.at_us)
            new = msgspec.structs.replace(old, grants=grants)
            _save(connection, new, new_one=before is None)
            self._told(connection, "person.grant", person, change, old.grants, grants)
        return new

    def bar(self, person: str, barred: bool, change: Change) -> Person:
        """Let somebody in no more, and end his sessions; or let him in again."""
        with self._database.write() as connection:
            self._database.lock(connection, "people")
            old = self._known(connection, person)
            at_us = (old.barred_us or change.at_us) if barred else None
            new = msgspec.structs.replace(old, barred_us=at_us)
            _save(connection, new)
            if barred:
                connection.execute(delete(sessions).where(sessions.c.person == person))
            action = "person.bar" if barred else "person.admit"
            before, after = old.barred_us is not None, barred
            self._told(connection, action, person, change, {"barred": before}, {"barred": after})
        return new

    def forget(self, person: str, change: Change) -> None:
        """Take somebody out, with his roles and sessions."""
        with self._database.write() as connection:
            self._database.lock(connection, "people")
            old = self._known(connection, person)
            connection.execute(delete(sessions).where(sessions.c.person == person))
            connection.execute(delete(people).where(people.c.id == person))
            self._told(connection, "person.forget", person, change, old, None)

    def sign_in(self, person: Person, session: Session, change: Change) -> Person:
        """Store a session and who it is of; gives the person as stored, with his grants."""
        with self._database.write() as connection:
            self._database.lock(connection, "people")
            before = _one(connection, person.id)
            new = _signed_in(before, person, change.at_us)
            connection.execute(delete(sessions).where(sessions.c.expires_us <= change.at_us))
            used = select(sessions.c.digest).where(sessions.c.state == session.state)
            if connection.execute(used).first() is not None:
                raise NotAllowed(
                    "sign-in", got="an answer of the provider that was used before",
                    promised="one answer for one session", mend="sign in again",
                )  # fmt: skip
            _save(connection, new, new_one=before is None)
            values = {
                "digest": session.digest, "person": person.id, "state": session.state,
                "expires_us": session.expires_us, "body": msgspec.json.encode(session).decode(),
            }  # fmt: skip
            connection.execute(insert(sessions).values(values))
            given = {"grants": session.grants}
            self._told(connection, "person.sign-in", person.id, change, None, given)
        return new

    def session(self, digest: str, now_us: int) -> tuple[Person, Session] | None:
        """The session of a cookie that is not over, and whose it is; None for every other."""
        query = select(sessions.c.body, people.c.body.label("whose"))
        query = query.join(people, people.c.id == sessions.c.person)
        query = query.where(sessions.c.digest == digest, sessions.c.expires_us > now_us)
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            return None
        person = _person.decode(row.whose)
        return None if person.barred_us is not None else (person, _session.decode(row.body))

    def sign_out(self, digest: str, change: Change) -> bool:
        """End a session for good; False where there is none."""
        with self._database.write() as connection:
            this = delete(sessions).where(sessions.c.digest == digest)
            person = connection.execute(this.returning(sessions.c.person)).scalar_one_or_none()
            if person is not None:
                self._told(connection, "person.sign-out", person, change, None, None)
        return person is not None

    def sign_out_everywhere(self, person: str, change: Change) -> int:
        """End all sessions of somebody; gives how many there were."""
        with self._database.write() as connection:
            ended = connection.execute(delete(sessions).where(sessions.c.person == person)).rowcount
            if ended:
                after = {"sessions": ended}
                self._told(connection, "person.sign-out", person, change, after, {"sessions": 0})
        return ended

    def _known(self, connection: Connection, person: str) -> Person:
        found = _one(connection, person)
        if found is None:
            raise self._database.place.error(
                f"no person {person[:80]}", "name one that `splice people list` shows"
            )
        return found

    def _told(
        self, connection: Connection, action: str, person: str, change: Change,
        before: Any, after: Any,  # what JSON is made of
    ) -> None:  # fmt: skip
        append_event(
            self._database, connection, action, person, by=change.by, now_us=change.at_us,
            why=change.why, before=msgspec.to_builtins(before), after=msgspec.to_builtins(after),
        )  # fmt: skip


def _signed_in(before: Person | None, person: Person, now_us: int) -> Person:
    """A person as he is from a sign-in on.

    Raises:
        NotAllowed: He is barred, or the id belongs to another account.
    """
    if before is None:
        return msgspec.structs.replace(person, grants=(), created_us=now_us, seen_us=now_us)
    if before.barred_us is not None:
        raise NotAllowed(
            "sign-in", got=f"{person.id[:80]}, who was barred", promised="somebody who may come in",
            mend="ask who runs this: splice people admit",
        )  # fmt: skip
    account = (before.issuer, before.subject)
    if before.subject and account != (person.issuer, person.subject):
        raise NotAllowed(
            "sign-in", got=f"{person.id[:80]}, by another account than before",
            promised="the account of the provider that this name belongs to",
            mend="if he is the same: splice people forget, and grant his roles anew",
        )  # fmt: skip
    return msgspec.structs.replace(
        before, name=person.name, issuer=person.issuer, subject=person.subject, seen_us=now_us
    )


def _one(connection: Connection, person: str) -> Person | None:
    row = connection.execute(select(people.c.body).where(people.c.id == person)).scalar()
    return None if row is None else _person.decode(row)


def _save(connection: Connection, person: Person, *, new_one: bool = False) -> None:
    body = msgspec.json.encode(person).decode()
    if new_one:
        connection.execute(insert(people).values(id=person.id, body=body))
    else:
        connection.execute(update(people).where(people.c.id == person.id).values(body=body))
