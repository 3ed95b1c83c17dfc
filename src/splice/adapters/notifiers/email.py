"""Alerts by e-mail: SMTP with STARTTLS, or TLS from the start, by the standard library."""

from __future__ import annotations

import logging
import smtplib
import ssl
from datetime import UTC, datetime
from email.headerregistry import Address
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from urllib.parse import urlsplit

from splice.adapters.notifiers.wording import body, headline, one_line
from splice.core.alerts import Message
from splice.core.errors import BusError, SettingsError
from splice.ports.notifiers import Channel

log = logging.getLogger("splice.monitors")

_PORTS = {"smtp": 587, "smtps": 465}


class EmailNotifier:
    """A Notifier that hands mail to an SMTP server.

    Args:
        channel: `url` is `smtp://host:587` (STARTTLS, which must succeed unless the option
            `starttls` is `never`) or `smtps://host:465`; `to` and `sender` are addresses.
        ca_file: Certificates to trust instead of the system's.
    """

    def __init__(self, channel: Channel, *, ca_file: str | None = None) -> None:
        self._channel = channel
        where = f"alerts.{channel.name}"
        try:
            parts = urlsplit(channel.url)
            port = parts.port
        except ValueError:
            parts, port = urlsplit(""), None
        if parts.scheme not in _PORTS or not parts.hostname or parts.username:
            raise SettingsError(
                f"{where}.url", got="no mail server", promised="smtp://host:587 or smtps://host:465",
            )  # fmt: skip
        self._host, self._port = parts.hostname, port or _PORTS[parts.scheme]
        self._from_start = parts.scheme == "smtps"
        self._starttls = channel.options.get("starttls", "required") != "never"
        self._tls = ssl.create_default_context(cafile=ca_file)
        if not channel.to:
            raise SettingsError(f"{where}.to", got="nobody", promised="addresses")
        for address in (channel.sender, *channel.to):
            try:
                Address(addr_spec=address)
            except (ValueError, IndexError):
                raise SettingsError(
                    where, got="an address that is none", promised="sender and to: ops@example.com"
                ) from None

    def tell(self, message: Message) -> None:
        """Hand a message to the server; one that comes again has the same Message-ID."""
        place = f"{self._host}:{self._port}"
        try:
            with self._connected() as server:
                refused = server.send_message(mail_of(message, self._channel))
        except smtplib.SMTPRecipientsRefused as error:
            code = min((one[0] for one in error.recipients.values()), default=550)
            raise _not_taken(place, f"{code}: no recipient is taken", code) from None
        except (smtplib.SMTPSenderRefused, smtplib.SMTPDataError) as error:
            raise _not_taken(place, f"{error.smtp_code}: not taken", error.smtp_code) from None
        except smtplib.SMTPAuthenticationError as error:
            raise _not_taken(place, f"{error.smtp_code}: user or password", 0) from None
        except (smtplib.SMTPException, OSError) as error:
            raise _not_taken(
                place, f"{type(error).__name__}: {one_line(str(error), 200)}", 0
            ) from None
        for address in refused:
            log.warning("channel %s: %s is not taken by %s", self._channel.name, address, place)

    def _connected(self) -> smtplib.SMTP:
        timeout = self._channel.timeout_s
        if self._from_start:
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                self._host, self._port, timeout=timeout, context=self._tls
            )
        else:
            server = smtplib.SMTP(self._host, self._port, timeout=timeout)
        try:
            if not self._from_start and self._starttls:
                server.starttls(context=self._tls)
            if self._channel.user:
                server.login(self._channel.user, self._channel.password)
        except BaseException:
            server.close()
            raise
        return server

    def close(self) -> None:
        """Nothing is held between messages."""


def mail_of(message: Message, channel: Channel) -> EmailMessage:
    """The mail of a message; headers hold no line breaks, whoever wrote the texts."""
    mail = EmailMessage(policy=SMTP)
    mail["From"] = channel.sender
    mail["To"] = ", ".join(channel.to)
    mail["Subject"] = headline(message)
    mail["Date"] = format_datetime(datetime.fromtimestamp(message.at_us // 1_000_000, UTC))
    mail["Message-ID"] = f"<{message.id}@{channel.sender.rpartition('@')[2]}>"
    mail["Auto-Submitted"] = "auto-generated"
    mail.set_content(body(message, channel.console))
    return mail


def _not_taken(place: str, got: str, code: int) -> BusError:
    error = BusError(place, got=got, promised="a mail server that takes it")
    error.retryable = not 500 <= code < 600
    return error
