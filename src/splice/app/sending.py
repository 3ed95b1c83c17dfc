"""Sending by the settings: how patient, and which secret signs what goes to a webhook."""

from __future__ import annotations

from splice.adapters.buses.webhook import Hook, secrets_of
from splice.app.plugins import plugin
from splice.app.settings import Settings
from splice.core.errors import SettingsError
from splice.ports.buses import Sink
from splice.serve.events.sender import SenderPlan

_SLACK_S = 15.0
_LONGEST_S = 30.0  # of a webhook's timeout, and of a delivery to Kafka


def sender_plan(settings: Settings) -> SenderPlan:
    """What `[outbox]` says."""
    outbox = settings.outbox
    return SenderPlan(
        keys=outbox.keys,
        attempts=outbox.attempts,
        backoff_s=outbox.backoff_seconds,
        max_backoff_s=outbox.max_backoff_seconds,
        send_s=_LONGEST_S + _SLACK_S,
    )


def webhook_sink(settings: Settings, scheme: str = "https") -> Sink:
    """What takes messages to `https://…` or `http://…`.

    Raises:
        SettingsError: A variable is named for a secret, and it is not set, or holds none.
    """
    hooks: list[Hook] = []
    for name, hook in settings.webhooks.items():
        secrets: tuple[bytes, ...] = ()
        if hook.secret_env:
            where = f"webhooks.{name}.secret_env"
            if hook.secret_env not in settings.secrets:
                raise SettingsError(
                    where, got=f"no variable {hook.secret_env}", promised="the secret itself",
                    mend="set it where this process starts, or leave secret_env out",
                )  # fmt: skip
            secrets = secrets_of(settings.secrets[hook.secret_env], where)
        hooks.append(Hook(hook.url, secrets, hook.timeout_seconds))
    return plugin("buses", scheme)(hooks)
