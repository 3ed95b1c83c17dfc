"""Rows of an outbox table as messages: where they go, and what their headers say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from splice.core.errors import SettingsError
from splice.core.events import Message
from splice.ports.outboxes import OutboxRow

_FIELD = re.compile(r"\$?\{(.*?)\}")
_FIELDS = ("aggregatetype", "routedByValue")  # the second is Debezium's word for the first


def targets_of(patterns: Sequence[str], where: str) -> tuple[str, ...]:
    """Patterns of targets that can be filled.

    Raises:
        SettingsError: There is none, one names a field that is not there, or leads elsewhere than
            to Kafka or to an embedded queue.
    """
    if not patterns:
        raise SettingsError(where, got="no target", promised="kafka:outbox.event.{aggregatetype}")
    for pattern in patterns:
        scheme, _, name = pattern.partition(":")
        if scheme not in ("kafka", "queue") or not name:
            raise SettingsError(
                where,
                got=pattern,
                promised="kafka:TOPIC or queue:NAME",
                mend="a webhook is a target of an integration, or of a consumer of the topic",
            )
        for field in _FIELD.findall(pattern):
            if field not in _FIELDS:
                raise SettingsError(where, got=f"{{{field}}}", promised="{aggregatetype}")
    return tuple(patterns)


def target_of(pattern: str, aggregatetype: str) -> str:
    """Where the events of a type go."""
    return _FIELD.sub(lambda _: aggregatetype, pattern)


def message_of(row: OutboxRow, target: str, source: str) -> Message:
    """One row, as a CloudEvent in Kafka's binary mode, with the header `id` that Debezium sends."""
    headers = [("id", row.id)]
    headers += [("ce_specversion", "1.0"), ("ce_id", row.id)]
    headers += [("ce_source", source or f"/outbox/{row.aggregatetype}"), ("ce_type", row.type)]
    headers.append(("ce_subject", row.aggregateid))
    if row.at_us:
        when = datetime.fromtimestamp(row.at_us / 1e6, UTC).isoformat(timespec="milliseconds")
        headers.append(("ce_time", when.replace("+00:00", "Z")))
    if not row.binary:
        headers.append(("content-type", "application/json"))
    own = {name for name, _ in headers}
    headers += [(name, value) for name, value in row.headers if name not in own]
    return Message(
        row.id,
        target,
        row.aggregateid.encode("utf-8", "surrogatepass"),
        row.payload,
        tuple((name, value.encode("utf-8", "surrogatepass")) for name, value in headers),
    )
