"""Alerts to an incoming webhook as Slack has them; Mattermost, Rocket.Chat and Discord take it too.

Callers' texts cannot mention anybody or make links: `&`, `<` and `>` are escaped, as Slack's guide
to formatting asks, and what would be a mention elsewhere is broken up.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from splice.adapters.notifiers.webhook import WebhookNotifier, post
from splice.adapters.notifiers.wording import call_ids, headline, links, note_line
from splice.core.alerts import Message
from splice.ports.notifiers import Channel

_SECTION_MOST = 2900  # characters; Slack takes 3,000
_BLOCKS_MOST = 40  # Slack takes 50


class SlackNotifier(WebhookNotifier):
    """A Notifier for incoming webhooks: `{"text": …, "blocks": […]}`.

    Args:
        channel: `url` is where to; it is the secret.
        ca_file: Certificates to trust instead of the system's.
    """

    def __init__(self, channel: Channel, *, ca_file: str | None = None) -> None:
        super().__init__(channel, ca_file=ca_file)

    def tell(self, message: Message) -> None:
        """Deliver a message."""
        raw = msgspec.json.encode(payload(message, self._channel.console))
        # Not of Slack's: a receiver of one's own can tell one that came twice.
        headers = {"webhook-id": message.id}
        asyncio.run(post(self._channel, raw, headers, "application/json", self._ca_file))


def payload(message: Message, console: str) -> dict[str, Any]:
    """The message as Slack takes it."""
    lines = [escaped(note_line(message, note)) for note in message.notes]
    blocks = [_section(f"*{escaped(headline(message))}*")]
    blocks += [_section(line) for line in lines[:_BLOCKS_MOST]]
    if len(lines) > _BLOCKS_MOST:
        blocks.append(_section(f"and {len(lines) - _BLOCKS_MOST} more"))
    calls = [one for alert in message.alerts for one in call_ids(alert)]
    if calls:
        blocks.append(_section("Calls that show it: " + ", ".join(calls[:10])))
    blocks += [_section(escaped(one)) for one in links(message, console)]
    return {"text": escaped(headline(message)), "blocks": blocks}


def escaped(text: str) -> str:
    """A text that mentions nobody and links nowhere."""
    safe = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("@", "@\u200b").replace("*", "∗").replace("`", "'").replace("~", "∼")


def _section(text: str) -> dict[str, Any]:
    cut = text if len(text) <= _SECTION_MOST else text[: _SECTION_MOST - 1] + "…"
    return {"type": "section", "text": {"type": "mrkdwn", "text": cut}}
