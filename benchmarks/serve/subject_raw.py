"""The subject `raw`: an ASGI function on uvicorn, no framework, one model run a request."""

from __future__ import annotations

from serve.subject import (
    HERE,
    Bench,
    Command,
    features_body,
    probability_field,
    uvicorn_argv,
)

NEEDS = "raw"
PACKAGES = ("uvicorn", "uvloop", "httptools", "orjson", "onnxruntime", "numpy")
VARIANTS = {"plain": "orjson in and out"}


def prepare(bench: Bench) -> Command:
    """The handler of `app_raw.py`."""
    return Command(
        argv=uvicorn_argv(bench.python, "app_raw:app", bench.port),
        cwd=bench.place("raw"),
        env={"PYTHONPATH": str(HERE)},
        paths=["/"],
        make_body=features_body,
        read_probability=probability_field,
    )
