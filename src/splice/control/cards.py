"""Cards and tags of versions: what is said of a version after it was registered is an audit event.

A version never changes, and the card that it was registered with stays with it. A correction is a
new card in an event `model.card`, a tag one in `model.tags`: the newest of a version holds, and all
earlier ones can be read in the audit log.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from splice.core.audit import AuditEvent
from splice.core.errors import DeclarationError
from splice.core.release import ModelVersion
from splice.core.versions import Card
from splice.ports.audit import AuditLog

_PAGE = 1000
_LISTS = ("assumptions", "limits")


def card_of(text: str, where: str = "card.toml") -> Card:
    """The card in a TOML text.

    Raises:
        DeclarationError: It is no TOML, or has other fields than a card.
    """
    try:
        plain = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise DeclarationError(where, got=str(error), promised="TOML", mend="mend it") from None
    return _card(plain, where)


def changed(card: Card, fields: Mapping[str, str], where: str = "card") -> Card:
    """A card with some fields set from texts: `metrics.auc` is a number, lists split at `;`.

    Raises:
        DeclarationError: A card has no such field, or it holds something else.
    """
    plain: dict[str, Any] = msgspec.to_builtins(card)
    for name, text in fields.items():
        field, _, key = name.partition(".")
        if key and field == "metrics":
            metrics: dict[str, Any] = plain.setdefault("metrics", {})
            try:
                metrics[key] = float(text)
            except ValueError:
                raise DeclarationError(
                    f"{where}.{name}", got=repr(text[:40]), promised="a number"
                ) from None
        elif name in _LISTS:
            plain[name] = [part.strip() for part in text.split(";") if part.strip()]
        else:
            plain[name] = text
    return _card(plain, where)


def _card(plain: dict[str, Any], where: str) -> Card:
    known = Card.__struct_fields__
    for name in plain:
        if name not in known:
            raise DeclarationError(
                f"{where}.{name}", got="no field of a card", promised=f"one of {', '.join(known)}"
            )
    try:
        return msgspec.convert(plain, Card)
    except msgspec.ValidationError as error:
        raise DeclarationError(where, got=str(error), promised="a card", mend="mend it") from None


class Cards:
    """Reads and completes what is said of versions.

    Args:
        audit: Where it is said.
    """

    def __init__(self, audit: AuditLog) -> None:
        self._audit = audit

    def card(self, version: ModelVersion) -> Card:
        """The card that holds now."""
        found = version.card
        for event in self.events(version):
            if event.action == "model.card":
                found = msgspec.convert(event.details.get("card", {}), Card)
        return found

    def set_card(
        self, version: ModelVersion, card: Card, *, by: str, now_us: int, why: str = ""
    ) -> AuditEvent:
        """Let another card hold from now on."""
        return self._audit.add_event(
            "model.card", version.label, by=by, now_us=now_us, why=why,
            details={"card": msgspec.to_builtins(card)},
            before=msgspec.to_builtins(self.card(version)), after=msgspec.to_builtins(card),
        )  # fmt: skip

    def tags(self, version: ModelVersion) -> dict[str, str]:
        """The tags that hold now."""
        found: dict[str, str] = {}
        for event in self.events(version):
            if event.action == "model.tags":
                tags: dict[str, Any] = event.details.get("tags", {})
                found.update({name: str(text) for name, text in tags.items() if text})
                for name in [name for name, text in tags.items() if not text]:
                    found.pop(name, None)
        return found

    def set_tags(
        self, version: ModelVersion, tags: Mapping[str, str], *, by: str, now_us: int, why: str = ""
    ) -> None:
        """Set tags; an empty text takes one away. What is so already makes no event."""
        now = self.tags(version)
        new = {name: text for name, text in tags.items() if now.get(name, "") != text}
        if new:
            self._audit.add_event(
                "model.tags", version.label, by=by, now_us=now_us, why=why, details={"tags": new},
                before={name: now.get(name, "") for name in new}, after=new,
            )  # fmt: skip

    def events(self, version: ModelVersion) -> Iterator[AuditEvent]:
        """What was done to a version, oldest first."""
        since = 0
        while page := self._audit.events(subject=version.label, since=since, limit=_PAGE):
            yield from page
            since = page[-1].number
