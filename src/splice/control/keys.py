"""Keys and budgets as people make, change and end them."""

from __future__ import annotations

import ipaddress
import re
import secrets
import string
from datetime import UTC, datetime

import msgspec

from splice.core.access import (
    NEVER_US,
    Budget,
    BudgetScope,
    Change,
    Grant,
    Key,
    Period,
    key_digest,
    key_token,
)
from splice.core.errors import DeclarationError, InputMismatch, RefusedError, RequestError
from splice.core.units import money, seconds
from splice.ports.keys import KeyStore

_ID = string.ascii_lowercase + string.digits
_NAME = re.compile(r"[^\s\x00-\x1f\x7f](?:[^\x00-\x1f\x7f]{0,78}[^\s\x00-\x1f\x7f])?")
_WORD = re.compile(r"[A-Za-z0-9][\w.@:-]{0,63}", re.ASCII)
_PATTERN = re.compile(r"[\w*?.:@/\[\]!-]{1,160}", re.ASCII)
_LONGEST_OVERLAP_S = 90 * 86_400.0
_MOST = (1 << 63) - 1  # of a whole number in the ledger


class KeyRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a new key shall be allowed, as people write it.

    `expires` is a duration ("90d") or a date in UTC ("2027-01-31"); empty means never. `budgets`
    are amounts such as "EUR 50/month". `grants` are roles beside calling; none is the default.
    """

    name: str
    team: str = ""
    tenant: str = ""
    integrations: tuple[str, ...] = ("*",)
    models: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    expires: str = ""
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    budgets: tuple[str, ...] = ()
    grants: tuple[Grant, ...] = ()
    why: str = ""


class Issued(msgspec.Struct, frozen=True):
    """A key with its secret, which is nowhere else and cannot be had again."""

    key: Key
    token: str
    budgets: tuple[Budget, ...] = ()

    def __repr__(self) -> str:
        return f"Issued(key={self.key.id!r})"


class Keys:
    """Makes, finds and ends keys, and sets budgets.

    Args:
        store: Where they are kept.
        pepper: Secret that goes into the digests; the same wherever keys are checked.
        currency: Of the account; budgets in another are refused.
    """

    def __init__(self, store: KeyStore, *, pepper: bytes, currency: str) -> None:
        self._store = store
        self._pepper = pepper
        self._currency = currency

    def create(self, asked: KeyRequest, *, by: str, now_us: int) -> Issued:
        """A new key, with its budgets.

        Raises:
            InputMismatch: Something of it cannot be read; nothing was stored.
            RefusedError: A key of this name is in use.
        """
        key_id = "".join(secrets.choice(_ID) for _ in range(10))
        token = key_token(key_id, secrets.token_urlsafe(32))
        key = Key(
            id=key_id,
            name=_named("name", asked.name, _NAME, "1 to 80 characters of one line"),
            digest=key_digest(token, self._pepper),
            team=_word("team", asked.team),
            tenant=_word("tenant", asked.tenant),
            integrations=_patterns("integrations", asked.integrations),
            models=_patterns("models", asked.models),
            addresses=tuple(_network(one) for one in asked.addresses),
            expires_us=expiry(asked.expires, now_us),
            requests_per_minute=_above_zero("requests-per-minute", asked.requests_per_minute),
            tokens_per_minute=_above_zero("tokens-per-minute", asked.tokens_per_minute),
            created_us=now_us,
            by=by,
            grants=checked_grants(asked.grants),
        )
        change = Change(by, now_us, asked.why)
        if not key.integrations:
            raise InputMismatch("integrations", got="none", promised='a name, or "*" for all')
        budgets = tuple(self.budget(BudgetScope.KEY, key_id, one) for one in asked.budgets)
        if len({one.period for one in budgets}) < len(budgets):
            raise InputMismatch("budget", got="one period twice", promised="one budget a period")
        known = self._store.access().keys
        if any(one.name == key.name and one.revoked_us is None for one in known):
            raise RefusedError(
                f"key {key.name!r}", got="a name that another key has",
                mend="revoke that one, rotate it, or choose another name",
            )  # fmt: skip
        # The budgets first: a key without them could spend what it likes, if only for a moment.
        for one in budgets:
            self._store.put_budget(one, change)
        self._store.add_key(key, change)
        return Issued(key, token, budgets)

    def find(self, ref: str) -> Key:
        """The key of an id, or the one in use that has this name.

        Raises:
            RequestError: There is none.
        """
        keys = self._store.access().keys
        of_id = [one for one in keys if one.id == ref]
        in_use = [one for one in keys if one.name == ref and one.revoked_us is None]
        if of_id or len(in_use) == 1:
            return (of_id or in_use)[0]
        got = "no such key" if not in_use else "a name that several keys have"
        raise RequestError(
            f"key {ref[:80]!r}", got=got, promised="an id, or the name of a key in use",
            mend="splice keys list",
        )  # fmt: skip

    def revoke(self, key: Key, change: Change) -> Key:
        """End a key for good."""
        return self._store.revoke_key(key.id, change.at_us, change)

    def rotate(self, key: Key, change: Change, *, overlap: str = "") -> Issued:
        """Give a key another secret; the one before ends, or goes on for a while.

        Args:
            key: Which.
            change: Who does it, when and why.
            overlap: How long the secret before still counts: "24 h"; empty ends it at once. One
                that an earlier rotation left valid ends in either case.

        Raises:
            RefusedError: The key was revoked.
            InputMismatch: The overlap is no time, or more than 90 days.
        """
        if key.revoked_us is not None:
            raise RefusedError(f"key {key.id}", got="a key that was revoked", mend="make a new one")
        token = key_token(key.id, secrets.token_urlsafe(32))
        until_us = None if not overlap.strip() else change.at_us + _overlap_us(overlap)
        changed = msgspec.structs.replace(
            key,
            digest=key_digest(token, self._pepper),
            former="" if until_us is None else key.digest,
            former_until_us=until_us,
        )
        return Issued(self._store.update_key(changed, change), token)

    def grant(self, key: Key, grants: tuple[Grant, ...], change: Change) -> Key:
        """Give a key these roles and no others.

        Raises:
            RefusedError: The key was revoked.
            InputMismatch: A pattern is none.
        """
        if key.revoked_us is not None:
            raise RefusedError(f"key {key.id}", got="a key that was revoked", mend="make a new one")
        changed = msgspec.structs.replace(key, grants=checked_grants(grants))
        return self._store.update_key(changed, change)

    def budget(self, scope: BudgetScope, of: str, text: str) -> Budget:
        """The budget that "EUR 50/month" means; a month where no period is named.

        Raises:
            InputMismatch: It is not an amount in the account's currency and a period.
        """
        amount, _, period = text.partition("/")
        try:
            worth = money(amount, "budget")
            every = Period((period.strip() or Period.MONTH).lower())
        except (DeclarationError, ValueError):
            raise InputMismatch(
                "budget", got=repr(text[:80]),
                promised=f"{self._currency} 50/month, or another of {', '.join(Period)}",
            ) from None  # fmt: skip
        if worth.currency != self._currency:
            raise InputMismatch(
                "budget", got=worth.currency, promised=f"the account's currency, {self._currency}"
            )
        if not 0 <= worth.nano <= _MOST:
            raise InputMismatch(
                "budget", got=repr(text[:80]), promised="an amount from 0 to nine billion"
            )
        return Budget(scope, "" if scope is BudgetScope.ALL else of, every, worth.nano)


def checked_grants(given: tuple[Grant, ...]) -> tuple[Grant, ...]:
    """Roles as they are stored: each pattern checked, none twice.

    Raises:
        InputMismatch: A pattern is none, or a role has no integration.
    """
    checked: dict[Grant, None] = {}
    for one in given:
        if not one.integrations:
            raise InputMismatch("role", got="no integration", promised='a name, or "*" for all')
        checked[Grant(one.role, _patterns("integrations", one.integrations))] = None
    return tuple(checked)


def _overlap_us(text: str) -> int:
    try:
        length = seconds(text, "overlap")
    except DeclarationError:
        length = -1.0
    if not 0 < length <= _LONGEST_OVERLAP_S:
        raise InputMismatch("overlap", got=repr(text[:80]), promised='a time such as "24 h"')
    return int(length * 1_000_000)


def expiry(text: str, now_us: int) -> int | None:
    """Unix microseconds of "90d" from now, or of a date or time (UTC where it names no zone).

    None where the text is empty.

    Raises:
        InputMismatch: It is none of these, or not in the future.
    """
    if not text.strip():
        return None
    try:
        when = now_us + int(seconds(text, "expires") * 1_000_000)
    except DeclarationError:
        try:
            moment = datetime.fromisoformat(text.strip())
            moment = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
            when = int(moment.timestamp()) * 1_000_000
        except (ValueError, OverflowError):
            raise InputMismatch(
                "expires", got=repr(text[:80]), promised='a time such as "90d" or "2027-01-31"'
            ) from None
    if not now_us < when < NEVER_US:
        raise InputMismatch("expires", got=repr(text[:80]), promised="a time in the future")
    return when


def _named(field: str, text: str, pattern: re.Pattern[str], promised: str) -> str:
    if not pattern.fullmatch(text) or not text.isprintable():
        raise InputMismatch(field, got=repr(text[:80]), promised=promised)
    return text


def _word(field: str, text: str) -> str:
    return _named(field, text, _WORD, "a word such as growth") if text else ""


def _patterns(field: str, given: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(_named(field, one, _PATTERN, "a name, or a pattern with *") for one in given)


def _network(text: str) -> str:
    try:
        return str(ipaddress.ip_network(text, strict=False))
    except ValueError:
        raise InputMismatch(
            "addresses", got=repr(text[:80]), promised="networks such as 10.0.0.0/8"
        ) from None


def _above_zero(field: str, number: int | None) -> int | None:
    if number is not None and not 0 < number <= _MOST:
        raise InputMismatch(field, got=str(number), promised="a number above 0")
    return number
