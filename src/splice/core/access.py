"""Who asks: keys, what each may do, and what may be spent."""

from __future__ import annotations

import fnmatch
import hmac
import ipaddress
import re
from datetime import UTC, datetime, timedelta
from enum import StrEnum

import msgspec

from splice.core.errors import InputMismatch

NEVER_US = 253_402_300_799_000_000
"""The last second of the year 9999, in Unix microseconds: the end of what has none."""

_SECOND = 1_000_000
_PATTERN = re.compile(r"[\w*?.:@/\[\]!-]{1,160}", re.ASCII)
_DAY = 86_400 * _SECOND


class Period(StrEnum):
    """How long a budget lasts; each begins at a boundary of UTC (a week on Monday)."""

    HOUR = "hour"
    DAY = "day"
    WEEK = "week"
    MONTH = "month"
    TOTAL = "total"

    def window(self, now_us: int) -> tuple[int, int]:
        """Begin and end of the period that holds a moment, in Unix microseconds (UTC)."""
        if self is Period.TOTAL:
            return 0, NEVER_US
        if self is Period.MONTH:
            now = datetime.fromtimestamp(now_us // _SECOND, UTC)
            first = now.replace(day=1, hour=0, minute=0, second=0)
            after = (first + timedelta(days=31)).replace(day=1)
            return int(first.timestamp()) * _SECOND, int(after.timestamp()) * _SECOND
        length = _LENGTHS[self]
        # 1970 began on a Thursday; a week begins on Monday.
        ahead = 3 * _DAY if self is Period.WEEK else 0
        begin = (now_us + ahead) // length * length - ahead
        return begin, begin + length


_LENGTHS = {Period.HOUR: _DAY // 24, Period.DAY: _DAY, Period.WEEK: 7 * _DAY}


class BudgetScope(StrEnum):
    """Whose spending a budget counts."""

    KEY = "key"
    TEAM = "team"
    INTEGRATION = "integration"
    ALL = "all"


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """The most that may be spent in a period, in billionths of the account's currency.

    `of` names the key (by id), the team or the integration; it is empty where `scope` is `all`.
    Where several budgets count the same spending, the lowest holds.
    """

    scope: BudgetScope
    of: str
    period: Period
    amount_nano: int


class Role(StrEnum):
    """What somebody may do beside calling, in the integrations that he has it for."""

    VIEWER = "viewer"  # see calls, figures, releases, reviews
    OPERATOR = "operator"  # stop and start, roll out, roll back, mute alerts
    REVIEWER = "reviewer"  # decide what a person must look at
    APPROVER = "approver"  # consent to promotions, be the second pair of eyes
    ADMIN = "admin"  # all of it, and say who may what


class Permission(StrEnum):
    """What an action asks for."""

    SEE = "see"
    OPERATE = "operate"
    REVIEW = "review"
    APPROVE = "approve"
    ADMINISTER = "administer"


PERMITS: dict[Role, frozenset[Permission]] = {
    Role.VIEWER: frozenset({Permission.SEE}),
    Role.OPERATOR: frozenset({Permission.SEE, Permission.OPERATE}),
    Role.REVIEWER: frozenset({Permission.SEE, Permission.REVIEW}),
    Role.APPROVER: frozenset({Permission.SEE, Permission.REVIEW, Permission.APPROVE}),
    Role.ADMIN: frozenset(Permission),
}


class Grant(msgspec.Struct, frozen=True, gc=False):
    """A role, and the integrations that somebody has it for (patterns, as of a key)."""

    role: Role
    integrations: tuple[str, ...] = ("*",)


def grant_of(text: str) -> Grant:
    """The role that `reviewer`, or `reviewer@fraud-*,credit`, means.

    Raises:
        InputMismatch: There is no such role, or what follows it is no name.
    """
    name, at, patterns = text.partition("@")
    named = tuple(one.strip() for one in patterns.split(",") if one.strip())
    if (at and not named) or not all(map(_PATTERN.fullmatch, named)):
        raise InputMismatch(
            "role", got=repr(text[:80]), promised="names or patterns, as viewer@fraud-*"
        )
    try:
        return Grant(Role(name.strip().lower()), named or ("*",))
    except ValueError:
        raise InputMismatch(
            "role", got=repr(text[:80]), promised=f"one of {', '.join(Role)}"
        ) from None


def grants_text(grants: tuple[Grant, ...]) -> str:
    """Roles as people write them: `viewer, reviewer@fraud-*`."""
    return ", ".join(
        one.role if one.integrations == ("*",) else f"{one.role}@{','.join(one.integrations)}"
        for one in grants
    )


def without(
    grants: tuple[Grant, ...], role: Role | None, integrations: tuple[str, ...]
) -> tuple[Grant, ...]:
    """What is left when a role is taken away in some integrations; None and empty mean all."""
    left: list[Grant] = []
    for one in grants:
        kept = tuple(name for name in one.integrations if integrations and name not in integrations)
        if role is not None and one.role is not role:
            kept = one.integrations
        if kept:
            left.append(Grant(one.role, kept))
    return tuple(left)


class Key(msgspec.Struct, frozen=True, omit_defaults=True):
    """An API key as the ledger holds it: never the secret, only its HMAC.

    Patterns are those of file names (`*`, `?`). `integrations` may be called; `models` may be named
    directly as `provider/model`, within an integration that allows it. `addresses` are networks
    (`10.0.0.0/8`); empty means any. Times are Unix microseconds. `tenant` separates caches: answers
    are never shared between two tenants. `requests_per_minute` and `tokens_per_minute`
    are None where unlimited.

    `grants` are roles beside calling: a key without any calls, reads its own calls, and sees
    nothing of the console. After a rotation with overlap the secret before still counts until
    `former_until_us`, by its digest in `former`.
    """

    id: str
    name: str
    digest: str
    team: str = ""
    tenant: str = ""
    integrations: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    expires_us: int | None = None
    revoked_us: int | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    created_us: int = 0
    by: str = ""
    grants: tuple[Grant, ...] = ()
    former: str = ""
    former_until_us: int | None = None

    def may_call(self, integration: str) -> bool:
        """Whether the key may call an integration."""
        return _matches(integration, self.integrations)

    def may_name(self, model: str) -> bool:
        """Whether the key may name `provider/model` itself."""
        return _matches(model, self.models)

    def may_come_from(self, address: str) -> bool:
        """Whether the key may be used from an IP address; an unreadable address may not."""
        if not self.addresses:
            return True
        try:
            given = ipaddress.ip_address(address)
        except ValueError:
            return False
        mapped = getattr(given, "ipv4_mapped", None)
        given = mapped or given
        return any(_within(given, network) for network in self.addresses)


def key_token(key_id: str, secret: str) -> str:
    """What the holder of a key shows; the secret is 43 characters that are safe in a URL."""
    return f"sk-splice-{key_id}-{secret}"


def key_digest(token: str, pepper: bytes) -> str:
    """What the ledger keeps of a token: its HMAC-SHA256 in hexadecimal, keyed by the pepper."""
    return hmac.digest(pepper, token.encode(), "sha256").hex()


class Change(msgspec.Struct, frozen=True):
    """Who changes something, when (Unix microseconds) and why, as the audit log keeps it."""

    by: str
    at_us: int
    why: str = ""


class Peer(str):
    """The IP address of whoever asks, with the names in the certificate that his end showed.

    The names are those that a trusted authority wrote: `cn:billing`, `dns:billing.corp`,
    `uri:spiffe://corp/billing`, `email:…`, `ip:…`. Everywhere else it is a plain address.
    """

    __slots__ = ("names",)

    names: tuple[str, ...]

    def __new__(cls, address: str, names: tuple[str, ...]) -> Peer:
        """An address with names."""
        made = super().__new__(cls, address)
        made.names = names
        return made


class Principal(msgspec.Struct, frozen=True, gc=False):
    """Who asks. `caller` goes into the record.

    An empty `key` is the anonymous caller of a process that asks for no keys, or a person who
    signed in. `name` is what the audit log and reviews call him.
    """

    caller: str = ""
    tenant: str = ""
    team: str = ""
    key: Key | None = None
    name: str = ""
    grants: tuple[Grant, ...] = ()

    @property
    def anonymous(self) -> bool:
        """Whether he showed nothing that says who he is."""
        return not self.caller

    def may(self, permission: Permission, integration: str) -> bool:
        """Whether one of his roles lets him do it with an integration."""
        return any(
            permission in PERMITS[grant.role] and _matches(integration, grant.integrations)
            for grant in self.grants
        )

    def may_somewhere(self, permission: Permission) -> bool:
        """Whether one of his roles lets him do it with any integration at all."""
        return any(permission in PERMITS[grant.role] for grant in self.grants)

    def may_call(self, integration: str) -> bool:
        """Whether he may call an integration: people who signed in to the console do not."""
        return self.anonymous if self.key is None else self.key.may_call(integration)


ANYONE = Principal(name="anyone", grants=(Grant(Role.ADMIN),))
"""The caller where no keys are asked for: whoever reaches this machine's loopback operates it."""


def _within(address: ipaddress.IPv4Address | ipaddress.IPv6Address, network: str) -> bool:
    try:
        return address in ipaddress.ip_network(network, strict=False)
    except ValueError:  # what cannot be read lets nobody in
        return False


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    return any(
        pattern == "*" or pattern == name or fnmatch.fnmatchcase(name, pattern)
        for pattern in patterns
    )
