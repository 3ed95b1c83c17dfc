"""A registry that lies, hangs up or is gone: nothing of it reaches the project, or stops it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import onnx
import pytest
from registering_house import Registered

import splice
from splice.app import registries
from splice.core.errors import ModelUnavailable, SettingsError, SpliceError, StoreError

GRAPH = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["": 17]>
    g (float[N,1] amount_eur) => (float[N,1] y)
    <float[1] w = {0.001}> { y = Mul(amount_eur, w) }
""").SerializeToString()
MLMODEL = "flavors:\n  onnx:\n    data: model.onnx\n"


class Liar(ThreadingHTTPServer):
    """Answers as MLflow does, but for what a test changes."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.uri = "mlflow-artifacts:/1/r/artifacts/m"
        self.files: list[dict[str, Any]] = [{"path": "MLmodel"}, {"path": "model.onnx"}]
        self.contents = {"MLmodel": MLMODEL.encode(), "model.onnx": GRAPH}
        self.status = 200
        self.raw: bytes | None = None
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(BaseHTTPRequestHandler):
    """The few paths that a pull asks."""

    server: Liar

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        liar, parts = self.server, urlsplit(self.path)
        liar.asked.append(parts.path)
        query = {key: texts[0] for key, texts in parse_qs(parts.query).items()}
        if liar.raw is not None or liar.status != 200:
            self._send(liar.raw or b"{}")
        elif parts.path.endswith("model-versions/get"):
            version = {"name": query["name"], "version": query["version"], "run_id": ""}
            self._send(json.dumps({"model_version": version}).encode())
        elif parts.path.endswith("get-download-uri"):
            self._send(json.dumps({"artifact_uri": liar.uri}).encode())
        elif parts.path.endswith("mlflow-artifacts/artifacts"):
            self._send(json.dumps({"files": liar.files}).encode())
        else:
            self._send(liar.contents[parts.path.rpartition("/")[2]])

    def _send(self, body: bytes) -> None:
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Location", "http://127.0.0.1:9/")
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def liar() -> Iterator[Liar]:
    server = Liar()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def elsewhere(liar: Liar, tmp_path: Path) -> Iterator[Registered]:
    made = Registered(tmp_path / "project", f'[registry]\nurl = "{liar.url}"\nmost_mb = 1\n')
    yield made
    made.stores.close()


def pull(project: Registered) -> Any:
    return registries.pull(project.settings, project.stores, "credit", "1").version


def test_one_that_tells_the_truth_is_believed(elsewhere: Registered) -> None:
    assert pull(elsewhere).lineage.registry == "mlflow:credit/1"


LIES: dict[str, tuple[dict[str, Any], type[SpliceError], str]] = {
    "listing": ({"files": [{"path": "../../x"}]}, ModelUnavailable, "leads elsewhere"),
    "absolute": ({"files": [{"path": "/etc/passwd"}]}, ModelUnavailable, "leads elsewhere"),
    "data": (
        {"contents": {"MLmodel": MLMODEL.replace("model.onnx", "../../../etc/passwd").encode()}},
        ModelUnavailable, "leads elsewhere",
    ),
    "uri": ({"uri": "mlflow-artifacts:/1/../../x"}, StoreError, "serves itself"),
    "storage": ({"uri": "s3://bucket/x"}, StoreError, "artifacts in s3"),
    "local": ({"uri": "file:///etc"}, StoreError, "artifacts in file"),
    "no-mlmodel": ({"files": []}, ModelUnavailable, "no MLmodel"),
    "no-flavor": ({"contents": {"MLmodel": b"x: 1\n"}}, ModelUnavailable, "without flavors"),
    "huge-claim": (
        {"files": [{"path": "MLmodel"}, {"path": "model.onnx", "file_size": 1 << 40}]},
        ModelUnavailable, "most_mb",
    ),
    "huge-file": (
        {"contents": {"MLmodel": MLMODEL.encode(), "model.onnx": b"\0" * (1 << 21)}},
        ModelUnavailable, "most_mb",
    ),
    "huge-mlmodel": ({"contents": {"MLmodel": b"#" * (1 << 21)}}, StoreError, "too large"),
    "pickle": (
        {"contents": {"MLmodel": MLMODEL.encode(), "model.onnx": b"\x80\x04N."}},
        ModelUnavailable, "a pickle",
    ),
    "garbage": ({"raw": b"<html>"}, StoreError, "no JSON object"),
    "list": ({"raw": b"[]"}, StoreError, "no JSON object"),
    "redirect": ({"status": 302}, StoreError, "status 302"),
    "locked": ({"status": 401}, SettingsError, "credentials"),
    "broken": ({"status": 500, "raw": b"boom"}, StoreError, "status 500"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_and_nothing_is_registered(
    elsewhere: Registered, liar: Liar, lie: str
) -> None:
    changes, error, words = LIES[lie]
    for name, value in changes.items():
        setattr(liar, name, value)

    with pytest.raises(error, match=words):
        pull(elsewhere)

    assert elsewhere.stores.models.models() == []
    assert elsewhere.actions() == []
    assert not any("passwd" in path for path in liar.asked)


async def test_serving_goes_on_with_what_it_has_when_the_registry_is_away(
    elsewhere: Registered, liar: Liar
) -> None:
    version = pull(elsewhere)
    elsewhere.stores.models.set_alias("credit", "champion", version.version)
    liar.shutdown()
    liar.server_close()
    asked = len(liar.asked)

    app = splice.App(Screen, project=elsewhere.folder)
    async with app:
        reply = await app.call(Screen, Order(amount_eur=250.0))

    assert reply.risk == pytest.approx(0.25)
    assert len(liar.asked) == asked


class Order(splice.Request):
    """An order."""

    amount_eur: float


class Screened(splice.Reply):
    """How risky it is."""

    risk: float


class Screen(splice.Integration):
    """Find the orders that will not be paid."""

    deadline = "2 s"
    routes = [splice.Model("credit")]  # noqa: RUF012 - as users write it

    def decide(self, order: Order, prediction: splice.Prediction) -> Screened:
        return Screened(prediction.score)
