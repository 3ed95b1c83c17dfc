"""Wording: what a message of alerts says, for every kind of channel.

Texts may hold what callers sent: they are made one line each here, and each channel escapes them
for its own format.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from splice.core.alerts import Alert, Message, Note
from splice.core.monitors import SEVERITIES, severity_rank

_LINKS = 5
_MARKS = {"opened": "OPEN", "resolved": "RESOLVED", "still open": "STILL OPEN", "acted": "DONE"}


def one_line(text: str, most: int = 600) -> str:
    """A text as one line that can be read, and not too long."""
    plain = "".join(one if one.isprintable() else "\ufffd" for one in text[: most + 1])
    return plain if len(plain) <= most else plain[: most - 1] + "…"


def moment(at_us: int) -> str:
    """A moment in UTC, as RFC 3339 has it."""
    return datetime.fromtimestamp(at_us / 1e6, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def severity(message: Message) -> str:
    """The worst of what a message tells of."""
    worst = max((severity_rank(one.severity) for one in message.notes), default=0)
    return SEVERITIES[worst]


def headline(message: Message) -> str:
    """What a message is about: "[critical] credit: 2 opened (share errors, latency p99)"."""
    kinds: dict[str, list[str]] = {}
    names = {one.id: one.monitor for one in message.alerts}
    for note in message.notes:
        listed = kinds.setdefault(note.kind, [])
        name = names.get(note.alert) or note.name or "news"
        if name not in listed:
            listed.append(name)
    said: list[str] = []
    for kind, listed in kinds.items():
        more = f" and {len(listed) - 3} more" if len(listed) > 3 else ""
        said.append(f"{len(listed)} {kind} ({', '.join(listed[:3])}{more})")
    return one_line(f"[{severity(message)}] {message.integration}: {', '.join(said)}", 200)


def note_line(message: Message, note: Note) -> str:
    """One piece of news: "OPEN share errors: share of calls that failed is 5 % …"."""
    alert = next((one for one in message.alerts if one.id == note.alert), None)
    name = "" if alert is None else f" {alert.monitor}"
    return one_line(f"{_MARKS[note.kind]}{name}: {note.text}", 1200)


def links(message: Message, console: str) -> list[str]:
    """Addresses in the console: of the integration, and of its alerts that are open."""
    if not console:
        return []
    begin = console.rstrip("/")
    alerts = [f"{begin}/alerts/{one.id}" for one in message.alerts if one.state == "open"]
    return [f"{begin}/integrations/{quote(message.integration, safe='')}", *alerts[:_LINKS]]


def call_ids(alert: Alert) -> tuple[str, ...]:
    """Ids of calls that show it."""
    return () if alert.measured is None else alert.measured.calls


def body(message: Message, console: str) -> str:
    """The whole message in plain text."""
    lines = [headline(message), ""]
    for note in message.notes:
        lines.append(f"{moment(note.at_us)}  {note_line(message, note)}")
    shown = [one for one in message.alerts if call_ids(one)]
    for alert in shown:
        lines += ["", f"Calls that show {one_line(alert.monitor, 80)}:"]
        lines += [f"  splice calls explain {one}" for one in call_ids(alert)]
    if any(one.state == "open" for one in message.alerts):
        lines += ["", "To take note of it:"]
        lines += [
            f"  splice monitors ack {one.id}" for one in message.alerts if one.state == "open"
        ]
    lines += ["", *links(message, console)]
    return "\n".join(lines).rstrip() + "\n"
