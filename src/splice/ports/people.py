"""People who signed in, what roles they have, and their sessions."""

from __future__ import annotations

from typing import Protocol

from splice.core.access import Change, Grant
from splice.core.people import Person, Session


class PeopleStore(Protocol):
    """People, their roles and their sessions; each change is an audit event. Blocks."""

    def people(self) -> list[Person]:
        """Everybody, by id."""
        ...

    def person(self, person: str) -> Person | None:
        """One of them, or None."""
        ...

    def put_grants(self, person: str, grants: tuple[Grant, ...], change: Change) -> Person:
        """Give somebody these roles and no others; he need not have signed in yet."""
        ...

    def bar(self, person: str, barred: bool, change: Change) -> Person:
        """Let somebody in no more, and end his sessions; or let him in again.

        Raises:
            StoreError: There is no such person.
        """
        ...

    def forget(self, person: str, change: Change) -> None:
        """Take somebody out, with his roles and sessions: whoever signs in by the id is another.

        Raises:
            StoreError: There is no such person.
        """
        ...

    def sign_in(self, person: Person, session: Session, change: Change) -> Person:
        """Store a session and who it is of; gives the person as stored, with his grants.

        Sessions that are over go.

        Raises:
            NotAllowed: He is barred, the id belongs to another account of the provider, or the
                session's `state` opened one before.
        """
        ...

    def session(self, digest: str, now_us: int) -> tuple[Person, Session] | None:
        """The session of a cookie that is not over, and whose it is; None for every other."""
        ...

    def sign_out(self, digest: str, change: Change) -> bool:
        """End a session for good; False where there is none."""
        ...

    def sign_out_everywhere(self, person: str, change: Change) -> int:
        """End all sessions of somebody; gives how many there were."""
        ...
