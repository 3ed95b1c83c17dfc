"""What splice.toml says of webhooks, relays and the outbox, and what it must not say."""

from __future__ import annotations

from pathlib import Path

import pytest

from splice.app.sending import sender_plan, webhook_sink
from splice.app.settings import Settings, load
from splice.core.errors import SettingsError

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLjSw"


def settings(folder: Path, text: str, **environment: str) -> Settings:
    (folder / "splice.toml").write_text(text)
    return load(folder, environment)


def test_secrets_come_from_the_variables_that_are_named_and_nothing_else(tmp_path: Path) -> None:
    read = settings(
        tmp_path,
        '[webhooks.crm]\nurl = "https://crm.example/"\nsecret_env = "CRM"\n'
        '[relay.shop]\nurl_env = "SHOP"\n',
        CRM=SECRET, SHOP="sqlite:///shop.db", OTHER="x",
    )  # fmt: skip

    assert read.secrets == {"CRM": SECRET, "SHOP": "sqlite:///shop.db"}
    assert webhook_sink(read)
    assert SECRET not in repr(read)


@pytest.mark.parametrize("environment", [{}, {"CRM": ""}, {"CRM": "whsec_!"}])
def test_a_webhook_whose_secret_is_not_there_is_not_sent_unsigned(
    tmp_path: Path, environment: dict[str, str]
) -> None:
    text = '[webhooks.crm]\nurl = "https://crm.example/"\nsecret_env = "CRM"\n'

    with pytest.raises(SettingsError, match=r"webhooks\.crm\.secret_env"):
        webhook_sink(settings(tmp_path, text, **environment))


@pytest.mark.parametrize(
    "text",
    [
        '[webhooks.crm]\nurl = "https://u:p@crm.example/"\n',
        '[webhooks.crm]\nurl = "crm.example"\n',
        "[webhooks.crm]\n",
        '[webhooks.crm]\nurl = "https://crm.example/"\ntimeout_seconds = 31\n',
        "[relay.shop]\n",
        '[relay.shop]\nurl_env = "SHOP"\ntable = "outbox; DROP"\n',
        '[relay.shop]\nurl_env = "SHOP"\norder_by = "a b"\n',
        '[relay.shop]\nurl_env = "SHOP"\nafter_sending = "keep"\n',
        "[outbox]\nattempts = 0\n",
    ],
)
def test_what_cannot_be_meant_is_an_error_at_start(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingsError):
        settings(tmp_path, text)


def test_the_sender_is_as_patient_as_the_settings_say(tmp_path: Path) -> None:
    text = "[outbox]\nattempts = 7\nbackoff_seconds = 0.5\nmax_backoff_seconds = 9\nkeys = 3\n"

    plan = sender_plan(settings(tmp_path, text))

    assert (plan.attempts, plan.backoff_s, plan.max_backoff_s, plan.keys) == (7, 0.5, 9.0, 3)
    assert plan.lease_s > plan.send_s
