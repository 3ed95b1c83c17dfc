"""The subject `mlserver`: inference in process; debug, access log, metrics and gzip off."""

from __future__ import annotations

import json

from serve.subject import HERE, Bench, Command, Row, free_port, numbered

NEEDS = "mlserver"
PACKAGES = ("mlserver", "fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "onnxruntime")
VARIANTS = {
    "in-process": "parallel_workers 0",
    "batched-1ms": "parallel_workers 0, max_batch_size 32, max_batch_time 1 ms",
    "batched-5ms": "parallel_workers 0, max_batch_size 32, max_batch_time 5 ms",
    "worker": "parallel_workers 1",
    "worker-batched": "parallel_workers 1, max_batch_size 32, max_batch_time 5 ms",
    "installed": "everything as installed: a worker, debug, access log, metrics and gzip",
}
BATCH_SECONDS = {"batched-1ms": 0.001, "batched-5ms": 0.005, "worker-batched": 0.005}


def prepare(bench: Bench) -> Command:
    """MLServer with the runtime of `app_mlserver.py` and the variant's settings."""
    place = bench.place("mlserver")
    # The types are what its settings file takes: text, numbers, truth and nothing.
    settings: dict[str, str | int | bool | None] = {
        "host": "127.0.0.1",
        "http_port": bench.port,
        "grpc_port": free_port(),
        "metrics_port": free_port(),
    }
    if bench.variant != "installed":
        settings |= {
            "debug": False,
            "parallel_workers": 1 if bench.variant.startswith("worker") else 0,
            "metrics_endpoint": None,
            "gzip_enabled": False,
        }
    runtime = "app_mlserver.OnnxRuntime"
    (place / "settings.json").write_text(json.dumps(settings))
    names = numbered("scoring", bench.models)
    for name in names:
        model: dict[str, str | float] = {"name": name, "implementation": runtime}
        if bench.variant in BATCH_SECONDS:
            model |= {"max_batch_size": 32, "max_batch_time": BATCH_SECONDS[bench.variant]}
        (place / name).mkdir()
        (place / name / "model-settings.json").write_text(json.dumps(model))
    return Command(
        argv=[str(bench.python.parent / "mlserver"), "start", "."],
        cwd=place,
        env={"PYTHONPATH": str(HERE)},
        paths=[f"/v2/models/{name}/infer" for name in names],
        make_body=_tensor_body,
        read_probability=_tensor,
    )


def _tensor_body(row: Row) -> bytes:
    """The row as an inference request of the Open Inference Protocol."""
    tensor = {"name": "features", "datatype": "FP32", "shape": [1, len(row)], "data": list(row)}
    return json.dumps({"inputs": [tensor]}, separators=(",", ":")).encode()


def _tensor(body: bytes) -> float:
    """The number in the first output tensor."""
    return float(json.loads(body)["outputs"][0]["data"][0])
