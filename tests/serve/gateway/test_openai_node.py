"""OpenAI's own Node client against the same surface: it reads what the Python client reads."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from openai_desk import Site, said
from openai_fixtures import open_door, site
from openai_samples import TEXT_STREAM, TOOL_STREAM, completion

from splice.core import errors
from splice.core.chat import Dialect

__all__ = ["open_door", "site"]

HERE = Path(__file__).parent / "node"
INSTALLED = Path(__file__).parents[3] / ".services" / "node"
Run = Callable[[Site, str], Any]


@pytest.fixture(scope="module")
def node() -> Run:
    """Runs a scenario of `openai_client.mjs`, and gives what it printed."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    install()

    def run(site: Site, scenario: str) -> Any:
        ended = subprocess.run(
            ["node", "openai_client.mjs", site.base_url, scenario],
            cwd=INSTALLED, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
        return json.loads(ended.stdout)

    return run


def install() -> None:
    """Have the client in `.services/node`, in the versions of the lock file."""
    INSTALLED.mkdir(parents=True, exist_ok=True)
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    stamp = INSTALLED / "installed"
    with (INSTALLED / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # several test runs share the folder
        for name in ("package.json", "package-lock.json", ".npmrc", "openai_client.mjs"):
            shutil.copy(HERE / name, INSTALLED / name)
        if stamp.exists() and stamp.read_text() == wanted:
            return
        ended = subprocess.run(
            ["npm", "ci"], cwd=INSTALLED, capture_output=True, text=True, timeout=300, check=False
        )
        if ended.returncode != 0:
            pytest.skip(f"npm could not install the client: {ended.stderr[-300:]}")
        stamp.write_text(wanted)


def test_a_chat_completion(site: Site, node: Run) -> None:
    site.says(completion())

    got = node(site, "chat")

    assert got == {
        "text": "Hello there.", "usage": 18, "route": "llm:openai/gpt", "id": site.call.id,
    }  # fmt: skip


@pytest.mark.parametrize("kept", [True, False])
def test_a_stream_of_chunks(site: Site, node: Run, kept: bool) -> None:
    if kept:
        site.says(completion())
    else:
        site.streams(*TEXT_STREAM)

    assert node(site, "stream") == {"text": "Hello there.", "usage": 18}


def test_tools_called_at_once_in_a_stream(site: Site, node: Run) -> None:
    site.streams(*TOOL_STREAM)

    assert node(site, "tools") == ['{"city":"Oslo"}', '{"city":"Rome"}']


@pytest.mark.parametrize("scenario", ["parse", "responseParse"])
def test_structured_output(site: Site, node: Run, scenario: str) -> None:
    site.says(completion('{"city":"Oslo","people":7}'))

    assert node(site, scenario) == {"city": "Oslo", "people": 7}


def test_a_response(site: Site, node: Run) -> None:
    site.says(completion())

    assert node(site, "response") == {"text": "Hello there.", "status": "completed", "usage": 18}


def test_a_response_as_it_streams(site: Site, node: Run) -> None:
    site.streams(*TOOL_STREAM)

    got = node(site, "responseStream")

    assert got["text"] == "Let me see."
    assert got["calls"] == ['{"city":"Oslo"}', '{"city":"Rome"}']
    assert got["kinds"][0] == "response.created"
    assert got["kinds"][-1] == "response.completed"


def test_embeddings_of_a_provider_that_gives_numbers(site: Site, node: Run) -> None:
    rows = [{"object": "embedding", "index": i, "embedding": [0.5, -0.25 * i]} for i in range(2)]
    body = json.dumps({"object": "list", "model": "m", "data": rows, "usage": {}}).encode()
    site.engine.answering = lambda call, asked: said(call, body, Dialect.EMBEDDINGS)

    assert node(site, "embeddings") == [[0.5, 0], [0.5, -0.25]]
    assert bytes(site.asked.fields["encoding_format"]) == b'"base64"'


def test_models(site: Site, node: Run) -> None:
    site.engine.serves("triage", "triage-fast")

    assert node(site, "models") == {"ids": ["triage", "triage-fast"], "one": "splice"}


@pytest.mark.parametrize(
    ("error", "kind", "status", "code"),
    [
        (errors.InputMismatch("messages[0].content", got="x"), "BadRequestError", 400,
         "invalid_type"),
        (errors.UnknownModel("model"), "NotFoundError", 404, "model_not_found"),
        (errors.OverBudget("team growth"), "RateLimitError", 429, "insufficient_quota"),
        (errors.Stopped("triage"), "InternalServerError", 503, "stopped"),
    ],
)  # fmt: skip
def test_an_error_is_of_the_clients_own_class_and_asked_once(
    site: Site, node: Run, error: errors.SpliceError, kind: str, status: int, code: str
) -> None:
    site.fails(error)

    got = node(site, "chat")

    assert (got["class"], got["status"], got["code"]) == (kind, status, code)
    assert got["requestID"] == site.call.id
    assert len(site.engine.asked) == 1


def test_a_stream_that_breaks(site: Site, node: Run) -> None:
    site.streams(*TEXT_STREAM[:2], errors.ProviderFailed("openai", got="a reset connection"))

    got = node(site, "broken")

    assert got["text"] == "Hello there"
    assert "a reset connection" in got["error"]


def test_a_response_that_breaks(site: Site, node: Run) -> None:
    site.streams(*TEXT_STREAM[:2], errors.ProviderFailed("openai", got="a reset connection"))

    got = node(site, "brokenResponse")

    assert got["last"] == "response.failed"
    assert "a reset connection" in got["error"]
