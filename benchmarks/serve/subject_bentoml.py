"""The subject `bentoml`: one worker; access log, metrics, monitoring and tracing off."""

from __future__ import annotations

import json

from serve.subject import (
    HERE,
    Bench,
    Command,
    Row,
    features_body,
    numbered,
    probability_field,
)

NEEDS = "bentoml"
PACKAGES = ("bentoml", "starlette", "pydantic", "uvicorn", "uvloop", "onnxruntime", "numpy")
VARIANTS = {
    "typed": "async, plain types, tracing middleware skipped",
    "traced": "async, plain types, tracing middleware as installed (no exporter)",
    "asynchronous": "async, arrays in and out",
    "numpy": "sync in the thread pool, arrays in and out",
    "documented": "sync in the thread pool, arrays in and out, tracing as installed",
    "batched": "async with adaptive batching, arrays in and out",
    "installed": "sync in the thread pool, arrays in and out, everything as installed",
}

SERVICES = {"traced": "Traced", "documented": "Traced", "installed": "Defaults"}
PATHS = {"traced": "/typed", "documented": "/numpy", "installed": "/numpy"}


def prepare(bench: Bench) -> Command:
    """The endpoint of `app_bentoml.py` that the variant names, with its configuration."""
    place = bench.place("bentoml")
    service = SERVICES.get(bench.variant, "Quiet")
    path = PATHS.get(bench.variant, f"/{bench.variant}")
    typed = path == "/typed"
    return Command(
        argv=[
            str(bench.python.parent / "bentoml"),
            *f"serve app_bentoml:{service} --host 127.0.0.1 --port {bench.port}".split(),
        ],
        cwd=place,
        env={
            "PYTHONPATH": str(HERE),
            "BENTOML_HOME": str(place / "home"),
            "BENTOML_DO_NOT_TRACK": "True",
            "MODELS": str(bench.models),
        },
        paths=numbered(path, bench.models),
        make_body=features_body if typed else _matrix_body,
        read_probability=probability_field if typed else _first,
    )


def _matrix_body(row: Row) -> bytes:
    """The row as a matrix of one row."""
    return json.dumps({"features": [list(row)]}, separators=(",", ":")).encode()


def _first(body: bytes) -> float:
    """The first number of an array."""
    return float(json.loads(body)[0])
