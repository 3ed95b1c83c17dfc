"""The sections of `splice.toml` that say where models come from, where they run, who switches."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta

from splice.app.sections import Section


class ModelSettings(Section, frozen=True):
    """Models that run in this process."""

    folder: str = "models"
    """`NAME.onnx` here is registered when a release of a route to NAME is applied."""

    store: str = ".splice/models"
    """Where registered versions are kept, by their hash."""

    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    """Threads of one model run. One is best beside an event loop; raise it for big models."""

    threads_of: dict[str, Annotated[int, Meta(ge=1, le=256)]] = {}  # noqa: RUF012 - a Struct copies it
    """Threads of single models by their names, where they differ."""

    max_batch: Annotated[int, Meta(ge=1, le=4096)] = 64
    """Rows in one run, at most. Concurrent calls of one model run together. Events of a model whose
    row takes microseconds, which nobody waits for one by one, go up to 1,024 in a run."""

    endpoint_keys: tuple[str, ...] = ()
    """Names of the environment variables whose secrets endpoints of remote models may be shown.
    An endpoint names its own by `key_env`; one that is not listed here is not read."""

    allow_pickle: bool = False
    """Whether pickled models may be registered and run. Whoever can write such a file can run code
    here: they run in worker pools only, and every registration is an audit event."""

    public_key: str = ""
    """PEM file of the key that signatures of model files are checked with (`splice models sign`
    makes them). Needs splice-ai[signing]."""

    require_signature: bool = False
    """Whether a model is loaded only with a signature that holds. The library that checks it takes
    two or three seconds to load, once in each process."""


class PoolSettings(Section, frozen=True):
    """Worker processes of one model: `[pools.NAME]` with the name of the model."""

    processes: Annotated[int, Meta(ge=1, le=256)] = 1
    """Worker processes that are always there."""

    most_processes: Annotated[int, Meta(ge=0, le=256)] = 0
    """Up to so many are started while calls wait, and ended when they have rested for
    `idle_seconds`; 0 is never more than `processes`."""

    idle_seconds: Annotated[float, Meta(gt=0, le=86_400)] = 30.0
    """How long an additional process may rest before it is ended."""

    memory_mb: Annotated[int, Meta(ge=64, le=1 << 20)] | None = None
    """Memory that one process may have resident; one that takes more is ended and started again.
    Left out, nothing bounds it."""

    threads: Annotated[int, Meta(ge=1, le=256)] = 1
    """Threads of one model run in a process."""

    start_seconds: Annotated[float, Meta(gt=0, le=3600)] = 60.0
    """How long a process may take to load the model."""

    env: tuple[str, ...] = ()
    """Names of environment variables of the server that its processes get too. By themselves they
    get only those that they need to find their libraries, and no secret."""


class RegistrySettings(Section, frozen=True):
    """A registry of models elsewhere, whose versions can be taken over: MLflow."""

    url: str = ""
    """`http://host:5000` of an MLflow server; empty where there is none."""

    token_env: str = ""
    """Name of the environment variable with its bearer token; the token never stands here."""

    user_env: str = ""
    """Name of the environment variable with its user, for basic authentication."""

    password_env: str = ""
    """Name of the environment variable with its password."""

    most_mb: Annotated[int, Meta(ge=1, le=1 << 20)] = 2048
    """Megabytes that one version's files may have together."""

    def __repr__(self) -> str:
        return "RegistrySettings(…)"  # its URL may hold a password


class TrackingSettings(Section, frozen=True):
    """Where training runs are logged."""

    tracker: str = "files"
    """`files` (a folder), `mlflow` (the server of `[registry]`, or `url`), `wandb`, or another
    entry point in `splice.trackers`."""

    url: str = ""
    """Server of the tracker; that of `[registry]` if left out."""

    folder: str = ".splice/runs"
    """Where `files` writes, and W&B in its offline mode."""

    project: str = ""
    """Experiment (MLflow) or project (W&B); the model's name if left out."""

    mode: Literal["online", "offline"] = "online"
    """W&B: `offline` writes to `folder` and sends nothing."""

    token_env: str = ""
    """Name of the environment variable with the token; W&B's own is WANDB_API_KEY."""


class FlagSettings(Section, frozen=True):
    """An OpenFeature provider that chooses variants, for rollouts that name a flag."""

    provider: str = ""
    """Class of the provider as `module:Class`; empty where there is none."""

    options: dict[str, Any] = {}  # noqa: RUF012 - a Struct copies it
    """Arguments of the class, as they are."""

    timeout_ms: Annotated[float, Meta(gt=0, le=10_000)] = 50.0
    """How long a call waits for a flag; then it gets the variant that the rollout's shares say."""

    def __repr__(self) -> str:
        return "FlagSettings(…)"  # its options may hold secrets


class SageMakerSettings(Section, frozen=True):
    """SageMaker's container contract: `/ping` and `/invocations`."""

    integration: str = ""
    """Integration that `/invocations` asks; the only one that is live if left out."""


class OipSettings(Section, frozen=True):
    """The Open Inference Protocol."""

    grpc_port: Annotated[int, Meta(ge=0, le=65535)] | None = None
    """Port of the gRPC service, on the address of `server.host`; none if left out. 0 takes a free
    one."""

    max_rows: Annotated[int, Meta(ge=1, le=100_000)] = 1024
    """Rows in one request, at most: each is a call."""
