"""The sections of `splice.toml` about access: who people and services are, and TLS."""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from msgspec import Meta

from splice.app.sections import Section

Algorithm: TypeAlias = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA",
]  # fmt: skip


class TlsSettings(Section, frozen=True):
    """TLS of the server: HTTP, the console and gRPC."""

    cert: str = ""
    """File of the server's certificate and those between it and the root (PEM). Empty: no TLS."""

    key: str = ""
    """File of its private key (PEM, without a password)."""

    client_ca: str = ""
    """File of the authorities whose client certificates count (PEM); `[services.NAME]` says whose
    they are. Empty: none is asked for."""

    clients: Literal["optional", "required"] = "optional"
    """`required` ends a connection without a client certificate before anything is said, health
    checks and browsers included; `optional` leaves it to keys and tokens. gRPC asks for one only
    where it is required."""


class PeopleSettings(Section, frozen=True):
    """Who may sign in to the console: people, by OpenID Connect."""

    issuer: str = ""
    """Address of the identity provider, exactly as its discovery document says it. Empty: nobody
    signs in but with a key. Where it is set, the console asks everybody to sign in."""

    client_id: str = ""
    """What the provider calls this server."""

    client_secret_env: str = ""
    """Name of the environment variable with the secret of this client; empty for a public one,
    which PKCE protects alone."""

    redirect_url: str = ""
    """Where the provider sends browsers back, as it was registered there:
    `https://splice.example.com/console/sign-in/back`. Left out, it is made of the address that was
    called, which must then be of this machine, an IP address, or one of `console.hosts`."""

    scopes: tuple[str, ...] = ("openid", "email", "profile")
    """What is asked of the provider; groups often need a scope of their own."""

    claim: str = "email"
    """The claim that says who somebody is: what `splice people grant` and the audit log call him.
    An address counts only where the provider says that it is verified."""

    unverified: Literal["refuse", "accept"] = "refuse"
    """What an address is worth that the provider does not call verified. `accept` only where nobody
    can choose his own: some providers let anybody claim yours."""

    roles_claim: str = "groups"
    """The claim with the groups of somebody: a list of texts, or one text."""

    roles: dict[str, tuple[str, ...]] = {}  # noqa: RUF012 - a Struct copies its defaults
    """Group at the provider to roles here: `fraud-team = ["reviewer@fraud-*", "viewer"]`. Roles are
    viewer, operator, reviewer, approver and admin; `@` names integrations, else it is all. They
    are read at the sign-in; `splice people grant` gives roles at once."""

    session_hours: Annotated[float, Meta(gt=0, le=720)] = 8.0
    """How long a sign-in lasts. A working day: groups are asked for anew at the next one."""

    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    """How the provider may sign; a token signed in any other way is refused."""

    ca_file: str = ""
    """File of certificates to trust at the provider instead of the system's."""


class IssuerSettings(Section, frozen=True):
    """Whose signed tokens (JWT) services may show instead of a key: `[issuers.NAME]`."""

    issuer: str
    """Its address, exactly as its tokens name it in `iss`."""

    audience: str
    """Whom its tokens must be meant for (`aud`): a name for this server that no other has."""

    jwks_url: str = ""
    """Where its keys are; found by its discovery document if left out."""

    algorithms: tuple[Algorithm, ...] = ("RS256", "ES256")
    """How it may sign; a token signed in any other way is refused."""

    ca_file: str = ""
    """File of certificates to trust there instead of the system's."""


class ServiceSettings(Section, frozen=True):
    """A service that calls by a signed token or a client certificate: `[services.NAME]`."""

    issuer: str = ""
    """Name of the `[issuers.NAME]` whose tokens it shows."""

    subject: str = ""
    """The `sub` of its tokens; `*` and `?` stand for others, each of which is told apart."""

    claims: dict[str, str] = {}  # noqa: RUF012 - as above
    """Further claims that its tokens must have, with these values."""

    certificate: str = ""
    """Name in its client certificate: `dns:billing.corp`, `uri:spiffe://corp/billing`,
    `email:…`, `ip:…` or `cn:billing`; `*` and `?` stand for others."""

    integrations: tuple[str, ...] = ()
    """Integrations that it may call: names or patterns."""

    models: tuple[str, ...] = ()
    """Models that it may name itself, as `openai/*`."""

    team: str = ""
    """Whose budget it shares."""

    tenant: str = ""
    """Whose cached answers it shares; the team's if left out."""

    requests_per_minute: Annotated[int, Meta(ge=1)] | None = None
    """Requests in a minute; unlimited if left out."""

    tokens_per_minute: Annotated[int, Meta(ge=1)] | None = None
    """Tokens in a minute; unlimited if left out."""

    roles: tuple[str, ...] = ()
    """Roles beside calling: `viewer`, `reviewer@fraud-*`."""
