"""Every setting of a process: `splice.toml`, overridden by `SPLICE_SECTION_FIELD`.

This is the one file that reads the environment. Settings say how this process runs; what the AI
does is declared, and enters as releases.
"""

from __future__ import annotations

import getpass
import os
import secrets
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast, get_origin

import msgspec

from splice.app.access_sections import (
    IssuerSettings,
    PeopleSettings,
    ServiceSettings,
    TlsSettings,
)
from splice.app.alert_sections import AlertSettings, MonitorSettings
from splice.app.audit_sections import AuditSettings
from splice.app.encryption_sections import EncryptionSettings
from splice.app.event_sections import (
    ConsumeSettings,
    InboxSettings,
    KafkaSettings,
    OutboxSettings,
    RelaySettings,
    WebhookSettings,
)
from splice.app.model_sections import (
    FlagSettings,
    ModelSettings,
    OipSettings,
    PoolSettings,
    RegistrySettings,
    SageMakerSettings,
    TrackingSettings,
)
from splice.app.sections import (
    AccessSettings,
    CacheSettings,
    ConsoleSettings,
    CostSettings,
    FeatureSettings,
    GatewaySettings,
    LedgerSettings,
    MaskingSettings,
    MeterSettings,
    ProjectSettings,
    ProviderSettings,
    Section,
    ServerSettings,
    TelemetrySettings,
)
from splice.app.slips import slip_of
from splice.core.errors import SettingsError

FILE = "splice.toml"
POOL_ENV = ("LD_LIBRARY_PATH", "OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "PYTHONPATH", "TZ")
"""What a worker process gets of the environment: where its libraries are, and how to run them."""
_OVERRIDDEN = (
    "project", "server", "ledger", "models", "cost", "telemetry", "access", "meters", "cache",
    "gateway", "monitors", "registry", "tracking", "sagemaker", "oip", "kafka", "inbox",
    "outbox", "console", "tls", "people", "encryption",
    "audit",
)  # fmt: skip


_LISTS = ("modules", "endpoint_keys", "hosts", "scopes", "algorithms")


class Settings(Section, frozen=True):
    """All sections, with the folder they stand in."""

    project: ProjectSettings = ProjectSettings()
    server: ServerSettings = ServerSettings()
    ledger: LedgerSettings = LedgerSettings()
    models: ModelSettings = ModelSettings()
    cost: CostSettings = CostSettings()
    providers: dict[str, ProviderSettings] = {}  # noqa: RUF012 - a Struct copies its defaults
    features: FeatureSettings = FeatureSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    access: AccessSettings = AccessSettings()
    tls: TlsSettings = TlsSettings()
    people: PeopleSettings = PeopleSettings()
    issuers: dict[str, IssuerSettings] = {}  # noqa: RUF012 - as above
    services: dict[str, ServiceSettings] = {}  # noqa: RUF012 - as above
    meters: MeterSettings = MeterSettings()
    cache: CacheSettings = CacheSettings()
    gateway: GatewaySettings = GatewaySettings()
    masking: MaskingSettings = MaskingSettings()
    audit: AuditSettings = AuditSettings()
    console: ConsoleSettings = ConsoleSettings()
    pools: dict[str, PoolSettings] = {}  # noqa: RUF012 - as above
    registry: RegistrySettings = RegistrySettings()
    tracking: TrackingSettings = TrackingSettings()
    flags: FlagSettings = FlagSettings()
    oip: OipSettings = OipSettings()
    sagemaker: SageMakerSettings = SageMakerSettings()
    kafka: KafkaSettings = KafkaSettings()
    consume: dict[str, ConsumeSettings] = {}  # noqa: RUF012 - as above
    inbox: InboxSettings = InboxSettings()
    outbox: OutboxSettings = OutboxSettings()
    webhooks: dict[str, WebhookSettings] = {}  # noqa: RUF012 - as above
    relay: dict[str, RelaySettings] = {}  # noqa: RUF012 - as above
    monitors: MonitorSettings = MonitorSettings()
    encryption: EncryptionSettings = EncryptionSettings()
    alerts: dict[str, AlertSettings] = {}  # noqa: RUF012 - as above
    root: str = "."
    # Environment variable to its secret: never shown, never written.
    secrets: dict[str, str] = {}  # noqa: RUF012 - as above

    def path(self, text: str) -> Path:
        """A path of the settings, which starts at the folder of splice.toml."""
        return Path(self.root, text).resolve()

    @property
    def ledger_url(self) -> str:
        """The ledger's URL with an SQLite path made absolute."""
        prefix = "sqlite:///"
        if self.ledger.url.startswith(prefix) and not self.ledger.url.startswith(prefix + "/"):
            return prefix + str(self.path(self.ledger.url.removeprefix(prefix)))
        return self.ledger.url

    def __repr__(self) -> str:
        return f"Settings(root={self.root!r})"


def find_root(start: Path) -> Path:
    """The nearest folder upwards that holds splice.toml.

    Raises:
        SettingsError: There is none.
    """
    if not start.exists():  # a slip in the name must not find the project above it
        raise SettingsError(str(start), got="no such folder", mend="name the one of splice.toml")
    for folder in (start, *start.resolve().parents):
        if (folder / FILE).is_file():
            return folder.resolve()
    raise SettingsError(
        FILE,
        got=f"no such file in {start.resolve()} or above",
        promised="a project",
        mend="run splice init, or name the folder with --project",
    )


def load(root: Path, environment: Mapping[str, str] | None = None) -> Settings:
    """The settings of a folder; all defaults where it has no splice.toml.

    Raises:
        SettingsError: The file does not parse, a name is unknown, or a value is out of bounds.
    """
    env = os.environ if environment is None else environment  # noqa: TID251 - the one place
    file = root / FILE
    plain: dict[str, Any] = {}
    if file.is_file():
        try:
            plain = tomllib.loads(file.read_text("utf-8"))
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
            raise SettingsError(FILE, got=str(error), promised="TOML", mend="mend it") from None
    for forbidden in ("root", "secrets"):
        if forbidden in plain:
            raise SettingsError(f"{FILE}.{forbidden}", got="a name that cannot be set here")
    _override(plain, env)
    plain["providers"] = _default_providers(plain.get("providers", {}), env)
    try:
        settings = msgspec.convert(plain, Settings, strict=False)
    except msgspec.ValidationError as error:
        raise _wrong(error, env, plain) from None
    secrets = {name: env[name] for name in _secret_names(settings) if name in env}
    endpoint = settings.telemetry.endpoint or env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return msgspec.structs.replace(
        settings,
        root=str(root.resolve()),
        secrets=secrets,
        telemetry=msgspec.structs.replace(settings.telemetry, endpoint=endpoint),
    )


def _secret_names(settings: Settings) -> set[str]:
    """The environment variables to be read, as the settings name them: secrets, and of pools."""
    registry, tracking = settings.registry, settings.tracking
    names = {
        settings.access.pepper_env, settings.audit.signing_key_env,
        settings.people.client_secret_env, tracking.token_env,
        registry.token_env, registry.user_env, registry.password_env,
        *settings.models.endpoint_keys,
        *settings.kafka.secret_options.values(),
        settings.kafka.registry_user_env, settings.kafka.registry_password_env,
        *(hook.secret_env for hook in settings.webhooks.values()),
        *(relay.url_env for relay in settings.relay.values()),
    }  # fmt: skip
    for channel in settings.alerts.values():
        names |= {channel.url_env, channel.secret_env, channel.user_env, channel.password_env}
    kind, _, variable = settings.encryption.vault.partition(":")
    names |= {variable} if kind == "env" else set()
    names |= {*POOL_ENV, *(name for pool in settings.pools.values() for name in pool.env)}
    for provider in settings.providers.values():
        names |= {provider.api_key_env, *(one.api_key_env for one in provider.deployments)}
    return names - {""}


def _override(plain: dict[str, Any], env: Mapping[str, str]) -> None:
    for section in _OVERRIDDEN:
        kind = cast("msgspec.Struct", getattr(Settings(), section))
        for field in msgspec.structs.fields(kind):
            value: Any = env.get(f"SPLICE_{section.upper()}_{field.name.upper()}")
            if value is not None and get_origin(field.type) is not dict:
                if field.name in _LISTS:
                    value = value.split(",")
                fields = plain.setdefault(section, {})
                if isinstance(fields, dict):  # else the typed reader says what is wrong with it
                    fields[field.name] = value


def _wrong(
    error: msgspec.ValidationError, env: Mapping[str, str], plain: dict[str, Any]
) -> SettingsError:
    """Names the variable that a bad value came from, or the place in the file."""
    said, _, path = str(error).replace("`", "").partition(" - at $.")
    if slip := slip_of(said, path, Settings, plain):
        return SettingsError(
            f"{FILE} {slip.path}".strip(),
            got=f"an unknown field {slip.field}",
            mend=slip.mend or "see docs/reference/settings.md",
        )
    path, mend = _named(path, plain), "see docs/reference/settings.md"
    variable = f"SPLICE_{path.upper().replace('.', '_')}"
    where = variable if variable in env else f"{FILE} {path}".strip()
    promised, _, got = said.removeprefix("Expected ").partition(", got ")
    if got and said.startswith("Expected "):
        return SettingsError(where, got=got, promised=promised, mend=mend)
    return SettingsError(where, got=said, mend=mend)


def _named(path: str, plain: dict[str, Any]) -> str:
    """The place with the name of its section, where the message has `[...]` for it."""
    field, dots, rest = path.partition("[...]")
    found = plain.get(field) if dots else None
    sections = cast("dict[str, Any]", found) if isinstance(found, dict) else {}
    for name, section in sections.items():
        try:
            msgspec.convert({field: {name: section}}, Settings, strict=False)
        except msgspec.ValidationError:
            return f"{field}.{name}{rest}"
    return path


def _default_providers(declared: Any, env: Mapping[str, str]) -> Any:
    """`openai` and `anthropic` by the variables that their own clients read, and `local`."""
    if not isinstance(declared, dict):
        return declared  # the typed reader says what is wrong with it
    providers = cast("dict[str, Any]", declared)
    providers.setdefault("local", {"kind": "llama"})
    if "OPENAI_API_KEY" in env or "OPENAI_BASE_URL" in env:
        providers.setdefault(
            "openai",
            {
                "base_url": env.get("OPENAI_BASE_URL", "https://api.openai.com/v1"),
                "api_key_env": "OPENAI_API_KEY",
            },
        )
    if "ANTHROPIC_API_KEY" in env:
        providers.setdefault(
            "anthropic",
            {
                "kind": "anthropic",
                "base_url": env.get("ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
                "api_key_env": "ANTHROPIC_API_KEY",
            },
        )
    return providers


def project_variable() -> str:
    """The folder that a parent process named for its workers; empty where there is none."""
    return os.environ.get("SPLICE_PROJECT", "")  # noqa: TID251 - the one place


def named_variable(name: str) -> str:
    """What a variable that a command names holds, as the URL of a database.

    Raises:
        SettingsError: It is not set.
    """
    value = os.environ.get(name, "")  # noqa: TID251 - the one place
    if not value:
        raise SettingsError(f"env:{name[:80]}", got="no such variable", mend="set it, or export it")
    return value


def prepare_for_ray() -> None:
    """What Ray reads in the environment when it is imported, here and in its processes.

    It says nothing to its makers, listens on the loopback interface only, and knows who belongs to
    this run by a token, which it would otherwise keep in the user's home.
    """
    os.environ.update(  # noqa: TID251 - the one place
        RAY_USAGE_STATS_ENABLED="0",
        # By its name for other systems; it is what decides which addresses are listened on.
        RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0",
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN=secrets.token_hex(32),
        RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO="0",
        RAY_BACKEND_LOG_LEVEL="fatal",
    )


def hand_to_workers(root: Path, overrides: Mapping[str, str]) -> None:
    """Tell worker processes, which start afresh, which project and which overrides are meant."""
    os.environ["SPLICE_PROJECT"] = str(root)  # noqa: TID251 - the one place
    os.environ.update(overrides)  # noqa: TID251 - the one place


def user_name() -> str:
    """Who runs this process, for releases and switches made on the command line."""
    for name in ("SPLICE_USER", "USER", "LOGNAME"):
        if value := os.environ.get(name):  # noqa: TID251 - the one place
            return value
    try:
        return getpass.getuser()  # the user of the process, as the system knows it
    except (KeyError, OSError, ImportError):
        return "unknown"
