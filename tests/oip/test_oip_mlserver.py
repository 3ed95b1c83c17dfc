"""MLServer's own types, codecs and batch client call integrations, in a Python of their own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from oip_house import ORDERS, orders

from splice.testing.project import Server

MLSERVER = Path(__file__).parents[2] / ".services" / "mlserver" / "venv" / "bin"

SCRIPT = """
import json, sys, urllib.request
import numpy as np
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.types import InferenceRequest, InferenceResponse, MetadataModelResponse

base = sys.argv[1]
request = InferenceRequest(id="r", inputs=[
    StringCodec.encode_input("customer", ["a", "b", "c"]),
    NumpyCodec.encode_input("amount", np.array([100.0, 900.0, 100.0])),
])
asked = urllib.request.Request(
    base + "/v2/models/orders/infer", request.model_dump_json().encode(),
    {"content-type": "application/json"},
)
response = InferenceResponse.model_validate_json(urllib.request.urlopen(asked).read())
risk, action = response.outputs
metadata = urllib.request.urlopen(base + "/v2/models/orders").read()
told = MetadataModelResponse.model_validate_json(metadata)
print(json.dumps({
    "id": response.id,
    "risk": NumpyCodec.decode_output(risk).ravel().tolist(),
    "action": StringCodec.decode_output(action),
    "inputs": [one.name for one in told.inputs],
}))
"""


@pytest.fixture(scope="module")
def programs(mlserver: Any) -> Path:
    assert mlserver  # its environment is there by then
    return MLSERVER


@pytest.mark.mlserver
def test_requests_and_responses_are_those_of_its_types_and_codecs(
    programs: Path, server: Server
) -> None:
    ran = subprocess.run(
        [programs / "python", "-c", SCRIPT, server.url], capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    assert json.loads(ran.stdout.splitlines()[-1]) == {
        "id": "r",
        "risk": [0.1, 0.9, 0.1],
        "action": ["ship", "review", "ship"],
        "inputs": ["customer", "amount", "items", "note"],
    }


@pytest.mark.mlserver
def test_its_batch_client_is_answered(programs: Path, server: Server, tmp_path: Path) -> None:
    asked, answered = tmp_path / "asked.jsonl", tmp_path / "answered.jsonl"
    asked.write_text("".join(json.dumps(orders(2, id=f"r-{at}")) + "\n" for at in range(3)))

    ran = subprocess.run(
        [
            programs / "mlserver", "infer", "-u", f"{server.host}:{server.port}", "-m", "orders",
            "-i", asked, "-o", answered,
        ],
        capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert ran.returncode == 0, ran.stderr
    responses = [json.loads(line) for line in answered.read_text().splitlines()]
    actions = [
        next(one["data"] for one in response["outputs"] if one["name"] == "action")
        for response in responses
    ]
    assert actions == [["ship", "review"]] * 3


def test_a_request_with_its_content_types_is_read(server: Server) -> None:
    body = orders(1, parameters={"content_type": "pd", "headers": None})
    body["inputs"][0]["parameters"] = {"content_type": "str"}

    assert server.post(ORDERS, body).status == 200
