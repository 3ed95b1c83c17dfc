"""Each notifier tells a real receiver: a web server, or a mail server with STARTTLS."""

from __future__ import annotations

import base64
import hmac
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from far_ends import MailEnd, WebEnd

from splice.adapters.notifiers.email import EmailNotifier
from splice.adapters.notifiers.slack import SlackNotifier
from splice.adapters.notifiers.webhook import WebhookNotifier
from splice.core.errors import BusError, SettingsError
from splice.ports.notifiers import Channel, Notifier
from splice.testing.contracts.notifiers import HOSTILE, FarEnd, NotifierContract, told
from splice.testing.smtp_server import SmtpServer

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"


@pytest.fixture
def web() -> Iterator[WebEnd]:
    made = WebEnd()
    yield made
    made.close()


@pytest.fixture
def mail(tmp_path: Path) -> Iterator[SmtpServer]:
    with SmtpServer(tmp_path) as server:
        yield server


def web_channel(web: WebEnd, **changes: object) -> Channel:
    plain = Channel(
        "oncall", "webhook", web.url, secret=SECRET, console="https://c.example/console/"
    )
    return msgspec.structs.replace(plain, **changes)


def mail_channel(mail: SmtpServer, **changes: object) -> Channel:
    plain = Channel(
        "mail", "email", f"smtp://127.0.0.1:{mail.port}", to=("ops@example.com", "ada@example.com"),
        sender="splice@example.com",
    )  # fmt: skip
    return msgspec.structs.replace(plain, **changes)


class TestWebhook(NotifierContract):
    @pytest.fixture
    def far_end(self, web: WebEnd) -> FarEnd:
        return web

    @pytest.fixture
    def notifier(self, web: WebEnd) -> Notifier:
        return WebhookNotifier(web_channel(web))


class TestSlack(NotifierContract):
    @pytest.fixture
    def far_end(self, web: WebEnd) -> FarEnd:
        return web

    @pytest.fixture
    def notifier(self, web: WebEnd) -> Notifier:
        return SlackNotifier(web_channel(web))


class TestEmail(NotifierContract):
    @pytest.fixture
    def far_end(self, mail: SmtpServer) -> FarEnd:
        return MailEnd(mail)

    @pytest.fixture
    def notifier(self, mail: SmtpServer) -> Notifier:
        return EmailNotifier(mail_channel(mail), ca_file=str(mail.ca_file))


def test_a_webhook_is_a_signed_cloudevent(web: WebEnd) -> None:
    WebhookNotifier(web_channel(web), now=lambda: 1614265330.9).tell(told("it is bad"))

    ((headers, raw),) = web.got
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    text = f"{headers['webhook-id']}.1614265330.".encode() + raw
    signature = base64.b64encode(hmac.digest(key, text, "sha256")).decode()
    (event,) = web.bodies
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["webhook-signature"] == f"v1,{signature}"
    assert (event["specversion"], event["type"]) == ("1.0", "io.splice.alerts")
    assert event["id"] == headers["webhook-id"] == told("it is bad").id
    (alert,) = event["data"]["alerts"]
    assert (alert["value"], alert["above"], alert["count"]) == (0.05, 0.02, 400)
    assert event["data"]["links"] == [
        "https://c.example/console/integrations/credit",
        f"https://c.example/console/alerts/{alert['id']}",
    ]


def test_nobody_is_mentioned_in_slack_by_what_a_caller_sent(web: WebEnd) -> None:
    SlackNotifier(web_channel(web)).tell(told(HOSTILE))

    (text,) = web.taken()
    assert "<" not in text
    assert "@everyone" not in text


def test_a_secret_url_stands_in_no_error(web: WebEnd) -> None:
    web.close()
    channel = web_channel(web, secret_url=True, url=f"http://127.0.0.1:{web.port}/T0/B0/s3cret")

    with pytest.raises(BusError) as caught:
        SlackNotifier(channel).tell(told("a"))

    assert "s3cret" not in str(caught.value)
    assert "s3cret" not in repr(channel)


def test_mail_goes_over_tls_to_everybody_at_once(mail: SmtpServer) -> None:
    mail.users = {"splice": "pw"}
    channel = mail_channel(mail, user="splice", password="pw")

    EmailNotifier(channel, ca_file=str(mail.ca_file)).tell(told("it is bad"))

    (one,) = mail.mails
    assert (one.over_tls, one.user, one.sender) == (True, "splice", "splice@example.com")
    assert one.recipients == ("ops@example.com", "ada@example.com")
    assert one.message["auto-submitted"] == "auto-generated"
    assert one.message["subject"] == "[critical] credit: 1 opened (share errors)"


def test_no_mail_goes_without_tls_unless_that_is_said(tmp_path: Path) -> None:
    with SmtpServer(tmp_path, tls=False) as mail:
        with pytest.raises(BusError) as caught:
            EmailNotifier(mail_channel(mail)).tell(told("a"))
        EmailNotifier(mail_channel(mail, options={"starttls": "never"})).tell(told("b"))

        assert "STARTTLS" in str(caught.value)
        assert caught.value.retryable
        assert [one.over_tls for one in mail.mails] == [False]


def test_no_mail_goes_to_a_server_that_nobody_vouches_for(mail: SmtpServer) -> None:
    with pytest.raises(BusError) as caught:
        EmailNotifier(mail_channel(mail)).tell(told("a"))

    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value)
    assert mail.mails == []


def test_a_wrong_password_may_become_right(mail: SmtpServer) -> None:
    channel = mail_channel(mail, user="splice", password="pw")

    with pytest.raises(BusError) as caught:
        EmailNotifier(channel, ca_file=str(mail.ca_file)).tell(told("a"))

    assert caught.value.retryable
    assert "pw" not in str(caught.value)


def test_one_recipient_that_is_unknown_keeps_the_mail_from_nobody_else(mail: SmtpServer) -> None:
    mail.unknown = {"ops@example.com"}

    EmailNotifier(mail_channel(mail), ca_file=str(mail.ca_file)).tell(told("a"))

    assert [one.recipients for one in mail.mails] == [("ada@example.com",)]


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        (WebhookNotifier, {"url": "ftp://example.com"}),
        (WebhookNotifier, {"url": ""}),
        (WebhookNotifier, {"url": "https://example.com", "secret": "whsec_short"}),
        (EmailNotifier, {"url": "http://example.com"}),
        (EmailNotifier, {"url": "smtp://example.com", "to": ()}),
        (EmailNotifier, {"url": "smtp://example.com", "to": ("ops\nBcc: eve@example.com",)}),
        (EmailNotifier, {"url": "smtp://example.com", "sender": "nobody"}),
    ],
)
def test_settings_that_lead_nowhere_are_refused_at_start(
    kind: type, changes: dict[str, object]
) -> None:
    plain = Channel("oncall", "x", to=("ops@example.com",), sender="splice@example.com")

    with pytest.raises(SettingsError) as caught:
        kind(msgspec.structs.replace(plain, **changes))

    assert "alerts.oncall" in str(caught.value)
