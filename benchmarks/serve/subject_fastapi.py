"""The subject `fastapi`: FastAPI on uvicorn with uvloop and httptools, no access log."""

from __future__ import annotations

from serve.subject import (
    HERE,
    Bench,
    Command,
    features_body,
    numbered,
    probability_field,
    uvicorn_argv,
)

NEEDS = "fastapi"
PACKAGES = ("fastapi", "starlette", "pydantic", "uvicorn", "uvloop", "onnxruntime", "numpy")
VARIANTS = {
    "typed": "async def, pydantic request and response model",
    "orjson": "async def, pydantic request, orjson response",
    "thread": "plain def, pydantic request and response model",
    "installed": "plain def, pydantic request and response model, access log as installed",
}
PATHS = {"installed": "/thread"}


def prepare(bench: Bench) -> Command:
    """The endpoint of `app_fastapi.py` that the variant names."""
    argv = uvicorn_argv(bench.python, "app_fastapi:app", bench.port)
    if bench.variant == "installed":
        argv = argv[: argv.index("--no-access-log")]
    return Command(
        argv=argv,
        cwd=bench.place("fastapi"),
        env={"PYTHONPATH": str(HERE), "MODELS": str(bench.models)},
        paths=numbered(PATHS.get(bench.variant, f"/{bench.variant}"), bench.models),
        make_body=features_body,
        read_probability=probability_field,
    )
