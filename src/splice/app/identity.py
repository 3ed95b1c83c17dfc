"""Who people and services are, by the settings: providers, and what a token stands for."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from splice.app.access_sections import IssuerSettings, ServiceSettings
from splice.app.plugins import made
from splice.app.settings import Settings
from splice.core.access import Grant, Key, grant_of
from splice.core.errors import InputMismatch, SettingsError
from splice.engine.bearers import CALLER, Bearers, Service
from splice.ports.identity import IdentityOptions, IdentityProvider
from splice.ports.keys import Spending

_EXTRA = "splice-ai[governance]"


def bearers_of(settings: Settings, clock: Callable[[], int]) -> Bearers | None:
    """Services that show a token or a certificate; None where none is named.

    Raises:
        SettingsError: A service shows nothing, or names an issuer that is not there.
    """
    if not settings.services:
        return None
    used = {one.issuer for one in settings.services.values() if one.issuer}
    services = [_service(settings, name, one) for name, one in settings.services.items()]
    issuers = {
        name: (one.issuer, _provider(settings, _options(settings, name, one)))
        for name, one in settings.issuers.items()
        if name in used
    }
    return Bearers(issuers, services, clock)


def provider_of(settings: Settings) -> IdentityProvider | None:
    """Where people sign in; None where they do not.

    Raises:
        SettingsError: Something is missing.
    """
    people = settings.people
    if not people.issuer:
        return None
    if not people.client_id:
        raise SettingsError(
            "people.client_id", got="none", promised="what the provider calls this server"
        )
    variable = people.client_secret_env
    if variable and not settings.secrets.get(variable):
        raise SettingsError(
            "people.client_secret_env", got=f"no variable {variable}", promised="the secret"
        )
    role_map(settings)  # a slip in it is found at start, not at somebody's sign-in
    options = IdentityOptions(
        issuer=people.issuer,
        client_id=people.client_id,
        secret=settings.secrets.get(variable, ""),
        scopes=people.scopes,
        algorithms=people.algorithms,
        ca_file=str(settings.path(people.ca_file)) if people.ca_file else "",
    )
    return _provider(settings, options)


def with_services(settings: Settings, spent: Spending) -> Spending:
    """What was spent, with that of services in the sums of their teams: no key names these."""
    teams = dict(spent.by_team)
    for caller, amount in spent.by_key.items():
        name = caller.removeprefix(CALLER).partition("/")[0]
        service = settings.services.get(name) if caller.startswith(CALLER) else None
        if service is not None and service.team:
            teams[service.team] = teams.get(service.team, 0) + amount
    return msgspec.structs.replace(spent, by_team=teams)


def check_identity(settings: Settings) -> None:
    """Passes settings whose people and services can be known; nobody is asked for it.

    Raises:
        SettingsError: Something of them is missing, or is wrong.
    """
    bearers_of(settings, lambda: 0)
    provider_of(settings)


def role_map(settings: Settings) -> dict[str, tuple[Grant, ...]]:
    """Group at the provider to roles here.

    Raises:
        SettingsError: One is no role.
    """
    return {
        group: _grants(texts, f"people.roles.{group}")
        for group, texts in settings.people.roles.items()
    }


def _provider(_: Settings, options: IdentityOptions) -> IdentityProvider:
    return made("identity", "oidc", _EXTRA, options)


def _options(settings: Settings, name: str, one: IssuerSettings) -> IdentityOptions:
    people = settings.people
    if one.issuer == people.issuer and one.audience == people.client_id:
        raise SettingsError(
            f"issuers.{name}.audience", got="the client that people sign in by",
            promised="another name", mend="else what they sign in with would call for them",
        )  # fmt: skip
    return IdentityOptions(
        issuer=one.issuer,
        audience=one.audience,
        algorithms=one.algorithms,
        jwks_url=one.jwks_url,
        ca_file=str(settings.path(one.ca_file)) if one.ca_file else "",
    )


def _service(settings: Settings, name: str, one: ServiceSettings) -> Service:
    where = f"services.{name}"
    if bool(one.issuer) != bool(one.subject) or not (one.issuer or one.certificate):
        raise SettingsError(
            where, got="a service that shows nothing", promised="issuer and subject, or certificate"
        )
    if one.issuer and one.issuer not in settings.issuers:
        raise SettingsError(
            f"{where}.issuer", got=one.issuer,
            promised=f"one of {', '.join(settings.issuers) or 'those in [issuers.NAME]: none yet'}",
        )  # fmt: skip
    if one.certificate and not settings.tls.client_ca:
        raise SettingsError(
            f"{where}.certificate", got="a certificate, and no tls.client_ca that could sign it"
        )
    if one.certificate and ":" not in one.certificate:
        raise SettingsError(
            f"{where}.certificate", got=one.certificate, promised="dns:…, uri:…, email:… or cn:…"
        )
    key = Key(
        id=CALLER + name,
        name=name,
        digest="",
        team=one.team,
        tenant=one.tenant,
        integrations=one.integrations,
        models=one.models,
        requests_per_minute=one.requests_per_minute,
        tokens_per_minute=one.tokens_per_minute,
        grants=_grants(one.roles, f"{where}.roles"),
    )
    return Service(key, one.issuer, one.subject, one.claims, one.certificate)


def _grants(texts: tuple[str, ...], where: str) -> tuple[Grant, ...]:
    try:
        return tuple(grant_of(one) for one in texts)
    except InputMismatch as error:
        raise SettingsError(where, got=error.got, promised=error.promised) from None
