"""KServe's SDK calls integrations: its REST and its gRPC client, in a Python of its own."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from oip_house import grpc_of

from splice.testing.project import Server

SCRIPT = """
import asyncio, json, sys
import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest, RESTConfig

http, grpc = sys.argv[1:]


def request(binary):
    customer = InferInput("customer", [3], "BYTES")
    amount = InferInput("amount", [3], "FP64")
    if binary:
        customer.set_data_from_numpy(np.array(["a", "b", "c"], dtype=object), binary_data=True)
        amount.set_data_from_numpy(np.array([100.0, 900.0, 100.0]), binary_data=True)
    else:
        customer.data, amount.data = ["a", "b", "c"], [100.0, 900.0, 100.0]
    return InferRequest(model_name="orders", infer_inputs=[customer, amount], request_id="r")


def shown(response):
    outputs = {one.name: one.as_numpy().tolist() for one in response.outputs}
    actions = [one.decode() if isinstance(one, bytes) else one for one in outputs["action"]]
    return {"id": response.id, "risk": outputs["risk"], "action": actions}


async def rest():
    client, found = InferenceRESTClient(RESTConfig(protocol="v2")), {}
    found["live"] = await client.is_server_live(http)
    found["ready"] = await client.is_server_ready(http)
    found["model"] = await client.is_model_ready(http, "orders")
    found["json"] = shown(await client.infer(http, request(False), model_name="orders"))
    found["binary"] = shown(await client.infer(http, request(True), model_name="orders"))
    try:
        await client.infer(http, request(False), model_name="none")
    except Exception as error:
        found["error"] = str(error)
    await client.close()
    return found


async def over_grpc():
    async with InferenceGRPCClient(grpc) as client:
        found = {"live": await client.is_server_live(), "ready": await client.is_server_ready()}
        found["model"] = await client.is_model_ready("orders")
        found["typed"] = shown(await client.infer(request(False)))
        found["raw"] = shown(await client.infer(request(True)))
        return found


print(json.dumps({"rest": asyncio.run(rest()), "grpc": asyncio.run(over_grpc())}))
"""

ROWS = {"id": "r", "risk": [0.1, 0.9, 0.1], "action": ["ship", "review", "ship"]}


@pytest.fixture(scope="module")
def found(
    kserve_python: str, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    script = Path(tmp_path_factory.mktemp("kserve")) / "client.py"
    script.write_text(SCRIPT)
    ran = subprocess.run(
        [kserve_python, script, server.url, grpc_of(server)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout.splitlines()[-1])


@pytest.mark.peers
def test_the_rest_client_is_answered_in_json_and_in_binary_data(found: dict[str, Any]) -> None:
    rest = found["rest"]

    assert (rest["live"], rest["ready"], rest["model"]) == (True, True, True)
    assert rest["json"] == ROWS
    assert rest["binary"] == ROWS
    assert "none: got no live release of that name" in rest["error"]


@pytest.mark.peers
def test_the_grpc_client_is_answered(found: dict[str, Any]) -> None:
    over_grpc = found["grpc"]

    assert (over_grpc["live"], over_grpc["ready"], over_grpc["model"]) == (True, True, True)
    assert over_grpc["typed"] == ROWS
    assert over_grpc["raw"] == ROWS
