"""What is known of a model version beside its bytes: card, lineage, and where a remote one runs."""

from __future__ import annotations

from typing import Any

import msgspec


class Card(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a person must know who decides on the model."""

    owner: str = ""
    purpose: str = ""
    assumptions: tuple[str, ...] = ()
    training_data: str = ""
    metrics: dict[str, float] = {}
    limits: tuple[str, ...] = ()  # where it must not be used


class Parity(msgspec.Struct, frozen=True, omit_defaults=True):
    """How far a converted model is from its original on the same rows."""

    rows: int
    max_difference: float  # of scores or values, absolute
    labels_differ: int = 0  # rows whose label is another
    tolerance: float = 0.0  # the most that was allowed


class Lineage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a version comes from.

    `run` names the training run: `mlflow:RUN_ID`, `wandb:ENTITY/PROJECT/RUN`, `files:RUN`.
    `registry` names the version elsewhere: `mlflow:credit/3`. `original` is what was converted:
    `sklearn.linear_model.LogisticRegression 1.9.0`.
    """

    data_sha256: str = ""
    data: str = ""  # what the data is called
    code_revision: str = ""
    params: dict[str, Any] = {}  # JSON values
    run: str = ""
    registry: str = ""
    original: str = ""
    parity: Parity | None = None


class Endpoint(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a remote model runs. It is the artifact of a version of format `remote`.

    `protocol` is the name of an entry point in `splice.remotes`: `oip` (Open Inference Protocol
    over HTTP), `oip-grpc`, `sagemaker`. `model` and `version` are the endpoint's own names.
    `key_env` names the environment variable with its secret, never the secret itself.
    """

    protocol: str
    url: str
    model: str
    version: str = ""
    region: str = ""
    key_env: str = ""
    options: dict[str, Any] = {}  # of the protocol; JSON values
