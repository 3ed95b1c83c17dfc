"""A credit integration with a real model, and a ledger to put evidence into."""

from __future__ import annotations

import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import onnx
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.call import Outcome, Reason, Record, Status
from splice.core.ids import derived_uuid7
from splice.core.release import ModelVersion
from splice.core.validation import GateResult, Validation


class Ran(Protocol):
    """What a command said, and its exit code."""

    code: int
    out: str
    err: str
    json: Any


class Command(Protocol):
    """The command line in one project folder; see tests/conftest.py."""

    folder: Path

    def __call__(self, *arguments: str | Path) -> Ran: ...


NAME = "credit-decision"
DAY_US = 86_400_000_000

INTEGRATION = '''
from typing import Literal

import splice


class Application(splice.Request):
    applicant: splice.Entity
    amount: float


class Verdict(splice.Reply):
    chance: float
    action: Literal["approve", "decline"]


def scorecard(context):
    return 0.2


class CreditDecision(splice.Integration):
    """Decide on small loans."""

    risk = splice.Risk.HIGH
    deadline = "500 ms"
    routes = [splice.Model("credit@champion", features=("amount",)), splice.Rule(scorecard)]
    monitors = [
        splice.Monitor(drift="psi", above=0.25), splice.Monitor(share="errors", above="2 %"),
    ]
    truth = splice.Truth("defaulted", foretold="decline", predicted="action", matures="1 d")
    assessment = splice.Assessment(ANSWERS)

    def decide(self, application: Application, prediction: splice.Prediction) -> Verdict:
        return Verdict(prediction.score, "decline" if prediction.score > 0.5 else "approve")
'''
ANSWERS = (
    'roles=["provider", "deployer"], practices=[], uses=["credit"], products=[], '
    'transparency=[], profiling=True, decides="assisted", public_service=False, '
    'affected="People who ask for a loan"'
)


def write_model(file: Path, factor: float = 0.001) -> None:
    """An ONNX model whose score is the amount times a factor."""
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    graph = helper.make_graph(
        [helper.make_node("Mul", ["amount", "factor"], ["score"])],
        "credit",
        [helper.make_tensor_value_info("amount", kind, [None, 1])],
        [helper.make_tensor_value_info("score", kind, [None, 1])],
        [helper.make_tensor("factor", kind, [1], [factor])],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(made.SerializeToString())


def write_project(folder: Path, *, answers: str = ANSWERS, more: str = "") -> None:
    """splice.toml, the declaration and the model's file."""
    (folder / "splice.toml").write_text(f'[project]\nmodules = ["integrations"]\n{more}', "utf-8")
    text = textwrap.dedent(INTEGRATION).replace("ANSWERS", answers)
    (folder / "integrations.py").write_text(text, "utf-8")
    write_model(folder / "models" / "credit.onnx")


@contextmanager
def opened(folder: Path) -> Iterator[Stores]:
    """The ledger of a project."""
    stores = Stores(load(folder))
    try:
        yield stores
    finally:
        stores.close()


def now_us() -> int:
    return time.time_ns() // 1000


def calls(count: int, ago_us: int = DAY_US, name: str = NAME) -> list[Record]:
    """Answered calls of one moment."""
    asked = now_us() - ago_us
    return [
        Record(
            derived_uuid7(asked // 1000, name, str(ago_us), str(number)), name, 1, asked + number,
            900, Status.ANSWERED, Reason.FIRST, "python", entity=f"person {number}",
            route="model:credit", version="credit@1", input=b'{"applicant":"x","amount":5.0}',
            prediction=b'{"score":0.2}', reply=b'{"chance":0.2,"action":"approve"}',
        )
        for number in range(count)
    ]  # fmt: skip


def defaults(records: list[Record]) -> list[Outcome]:
    """That none of them defaulted."""
    return [
        Outcome(one.integration, "defaulted", False, one.asked_us + 1, call_id=one.call_id)
        for one in records
    ]


def validation_of(version: ModelVersion, *, passed: bool = True, expires_us: int = 0) -> Validation:
    """A run of the gates, with a group and with bad values."""
    results = (
        GateResult("auc at least 0.7", passed, "0.81, wanted 0.7", 0.81, 0.7, 0.78, 0.84),
        GateResult("auc by age", passed, "0.75, wanted 0.7", 0.75, 0.7, slice="age=18-25"),
        GateResult("robust: missing", passed, "refused"),
    )
    return Validation(
        NAME, version.name, version.version, version.sha256, "loans.csv", "d" * 64, 1000, "e" * 64,
        now_us() - DAY_US, expires_us, "ada", results,
    )  # fmt: skip


def write_keys(folder: Path, name: str = "key") -> Path:
    """A pair of keys; gives the private one's file."""
    key = ec.generate_private_key(ec.SECP256R1())
    private = folder / f"{name}.pem"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )  # fmt: skip
    (folder / f"{name}.pub").write_bytes(
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return private
