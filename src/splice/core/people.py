"""People: who signed in, what roles they have, and how long they stay signed in."""

from __future__ import annotations

import msgspec

from splice.core.access import Grant, Principal

CALLER = "person:"
"""Begins the caller of what a person does; his id follows."""


class Person(msgspec.Struct, frozen=True, omit_defaults=True):
    """Somebody who signed in, or was granted a role before he did.

    `id` is what he is called everywhere: his e-mail address in lower case, or whatever claim the
    settings name. `issuer` and `subject` are who the provider says he is; they are empty until he
    signs in for the first time, and bind the id to that account from then on. `grants` were given
    here; roles by his groups at the provider are in his sessions. Times are Unix microseconds;
    None: never.
    """

    id: str
    name: str = ""
    issuer: str = ""
    subject: str = ""
    grants: tuple[Grant, ...] = ()
    created_us: int = 0
    seen_us: int | None = None
    barred_us: int | None = None


class Session(msgspec.Struct, frozen=True, omit_defaults=True):
    """One browser of a person, signed in; `digest` is the SHA-256 of what its cookie holds.

    `state` is the SHA-256 of what the provider gave back at the sign-in: it opens one session only.
    `grants` are the roles that his groups at the provider gave him then.
    """

    digest: str
    person: str
    state: str
    created_us: int
    expires_us: int
    grants: tuple[Grant, ...] = ()
    address: str = ""


def principal_of(person: Person, session: Session | None = None) -> Principal:
    """A person as somebody who asks: with the roles given here and those of his session."""
    given = () if session is None else session.grants
    name = person.name or person.id
    shown = person.id if name == person.id else f"{name} <{person.id}>"
    return Principal(CALLER + person.id, name=shown, grants=(*person.grants, *given))
