"""The sections of `splice.toml` about monitors: who is told of alerts, and how often."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta

from splice.app.sections import Section


class MonitorSettings(Section, frozen=True):
    """How calmly alerts are told."""

    wait_seconds: Annotated[float, Meta(ge=0, le=3600)] = 10.0
    """How long the first news of an integration waits for others: ten monitors that fire for one
    cause make one message."""

    distance_seconds: Annotated[float, Meta(ge=0, le=86_400)] = 300.0
    """The least time between two messages of an integration to one channel; a new critical alert
    does not wait for it."""

    repeat_hours: Annotated[float, Meta(ge=0, le=8760)] = 24.0
    """How often an alert that is open and not acknowledged is told of again; 0: never."""

    console: str = ""
    """Address of the console (`https://splice.example.com/console`), for links in messages."""


class AlertSettings(Section, frozen=True):
    """A channel: who is told of alerts, and how."""

    kind: str
    """`webhook` (a signed CloudEvent), `slack` (an incoming webhook of Slack, or of what takes the
    same), `email`, or the name of a plugin."""

    url: str = ""
    """Where to: `https://…`; of e-mail `smtp://host:587` (STARTTLS) or `smtps://host:465`."""

    url_env: str = ""
    """Name of the environment variable with the URL, where whoever knows it may post."""

    to: tuple[str, ...] = ()
    """E-mail: addresses."""

    sender: str = ""
    """E-mail: the address that it is from."""

    starttls: Literal["required", "never"] = "required"
    """E-mail: whether `smtp://` must go over to TLS before anything is said."""

    user_env: str = ""
    """Name of the environment variable with the user at the mail server."""

    password_env: str = ""
    """Name of the environment variable with the password."""

    secret_env: str = ""
    """Webhook: name of the environment variable with the secret that signs (Standard Webhooks):
    `whsec_` and base64. Unsigned where left out."""

    severity: Literal["info", "warning", "critical"] = "info"
    """The least severity that it is told of."""

    integrations: tuple[str, ...] = ("*",)
    """Of which integrations, by patterns: `["credit-*"]`."""

    timeout_seconds: Annotated[float, Meta(gt=0, le=15)] = 10.0
    """How long the other end may take for one step."""

    options: dict[str, str] = {}  # noqa: RUF012 - a Struct copies it
    """Options that only a plugin knows."""
