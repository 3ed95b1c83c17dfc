"""Alerts to a webhook: one CloudEvent in JSON, signed by the scheme of Standard Webhooks."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import msgspec

from splice.adapters.net.answers import HttpFault
from splice.adapters.net.http import Http
from splice.adapters.net.webhooks import judge, never, place_of, secrets_of, shown, signed
from splice.adapters.notifiers.wording import body, headline, links, moment, one_line, severity
from splice.core.alerts import Alert, Message
from splice.core.errors import BusError, InputMismatch, SettingsError
from splice.ports.notifiers import Channel

_TYPE = "io.splice.alerts"


class WebhookNotifier:
    """A Notifier that posts to a URL.

    Args:
        channel: `url` is where to; `secret` signs (`whsec_…`, several with spaces), unsigned where
            it is empty.
        now: Unix time in seconds.
        ca_file: Certificates to trust instead of the system's.
    """

    def __init__(
        self,
        channel: Channel,
        *,
        now: Callable[[], float] = time.time,
        ca_file: str | None = None,
    ) -> None:
        self._channel = channel
        self._now = now
        self._ca_file = ca_file
        where = f"alerts.{channel.name}"
        self._secrets = secrets_of(channel.secret, f"{where}.secret_env") if channel.secret else ()
        try:
            place_of(channel.url)
        except BusError as error:
            raise SettingsError(
                f"{where}.url", got="no URL to post to", promised=error.promised,
                mend="write it as url, or name the variable that has it as url_env",
            ) from None  # fmt: skip

    def tell(self, message: Message) -> None:
        """Deliver a message, under its own id."""
        raw = msgspec.json.encode(event(message, self._channel))
        headers = signed(message.id, int(self._now()), raw, self._secrets)
        asyncio.run(
            post(self._channel, raw, headers, "application/cloudevents+json", self._ca_file)
        )

    def close(self) -> None:
        """Nothing is held between messages."""


async def post(
    channel: Channel, raw: bytes, headers: dict[str, str], kind: str, ca_file: str | None = None
) -> None:
    """One POST to the channel's URL, over a connection of its own.

    Raises:
        BusError: It was not taken.
    """
    origin, path = place_of(channel.url)
    place = shown(channel.url) if not channel.secret_url else f"{origin.host}, its URL is secret"
    client = Http(
        origin, {"content-type": kind, "user-agent": "splice"},
        connect_s=min(5.0, channel.timeout_s), ca_file=ca_file,
    )  # fmt: skip
    try:
        answer = await client.open(path, raw, "", headers, channel.timeout_s)
        judge(place, answer)
    except HttpFault as fault:
        raise BusError(
            place, got=f"{fault.fault}: {fault.detail}", promised="an answer of 2xx",
            mend="check that the receiver runs there",
        ) from None  # fmt: skip
    except InputMismatch as error:
        raise never(place, f"{error.where}: {error.detail}") from None
    finally:
        await client.close()


def event(message: Message, channel: Channel) -> dict[str, Any]:
    """The CloudEvent of a message, in structured mode."""
    return {
        "specversion": "1.0",
        "id": message.id,
        "type": _TYPE,
        "source": f"/splice/{message.integration}/monitors",
        "subject": message.integration,
        "time": moment(message.at_us),
        "datacontenttype": "application/json",
        "data": {
            "channel": message.channel,
            "integration": message.integration,
            "severity": severity(message),
            "title": headline(message),
            "text": body(message, channel.console),
            "links": links(message, channel.console),
            "news": [
                {
                    "kind": one.kind, "alert": one.alert, "severity": one.severity,
                    "at": moment(one.at_us), "text": one_line(one.text, 2000),
                }
                for one in message.notes
            ],
            "alerts": [_plain(one) for one in message.alerts],
        },
    }  # fmt: skip


def _plain(alert: Alert) -> dict[str, Any]:
    measured = alert.measured
    found: dict[str, Any] = {
        "id": alert.id, "monitor": one_line(alert.monitor, 100), "kind": alert.kind,
        "state": alert.state,
        "severity": alert.severity, "release": alert.release, "opened": moment(alert.opened_us),
        "resolved": moment(alert.resolved_us) if alert.resolved_us else None,
        "why": one_line(alert.why, 2000), "watches": f"{alert.asked.kind} {alert.asked.figure}",
        "above": alert.asked.above, "below": alert.asked.below,
        "done": [
            {"action": one.action, "state": one.state, "detail": one_line(one.detail)}
            for one in alert.deeds
        ],
    }  # fmt: skip
    if measured is not None:
        found |= {
            "value": measured.value, "low": measured.low, "high": measured.high,
            "count": measured.count, "since": moment(measured.since_us),
            "until": moment(measured.until_us), "compared": one_line(measured.compared),
            "parts": [
                {
                    "name": one_line(one.name, 100), "value": one.value, "low": one.low,
                    "high": one.high,
                }
                for one in measured.parts
            ],
            "calls": list(measured.calls),
        }  # fmt: skip
    return found
