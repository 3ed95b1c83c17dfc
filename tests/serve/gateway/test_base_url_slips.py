"""Paths that a slip in a client's `base_url` makes: the error says what to mend."""

from __future__ import annotations

import http.client
import json
from typing import Any

import pytest
from openai_desk import Site
from openai_fixtures import open_door, site

from splice.serve.http.gateway import Gateway
from splice.serve.wire import WireCall

__all__ = ["open_door", "site"]


async def told(site: Site, method: str, path: str) -> tuple[int, Any]:
    gateway = Gateway(site.desk, None, 1000)  # type: ignore[arg-type]
    surface = gateway.surface(path)
    assert surface is not None
    headers = {b"authorization": b"Bearer sk-open"}
    answer = await surface.answer(WireCall(method, path, headers, b"{}", "127.0.0.1"))
    return answer.status, json.loads(answer.body)


@pytest.mark.parametrize("path", ["/chat/completions", "/v1/v1/chat/completions"])
async def test_openais_paths_with_a_v1_too_many_or_too_few(site: Site, path: str) -> None:
    status, body = await told(site, "POST", path)

    assert status == 404
    assert body["error"]["code"] == "unknown_url"
    assert "did you mean /v1/chat/completions? base_url ends with /v1" in body["error"]["message"]


@pytest.mark.parametrize("path", ["/models", "/v1/v1/models"])
async def test_the_list_of_models_is_missed_in_the_same_way(site: Site, path: str) -> None:
    status, body = await told(site, "GET", path)

    assert status == 404
    assert "did you mean /v1/models?" in body["error"]["message"]


@pytest.mark.parametrize("path", ["/messages", "/v1/v1/messages"])
async def test_anthropics_paths_with_a_v1_too_many_or_too_few(site: Site, path: str) -> None:
    status, body = await told(site, "POST", path)

    assert status == 404
    assert body["type"] == "error"
    assert "did you mean /v1/messages? base_url has no /v1" in body["error"]["message"]


@pytest.mark.parametrize(
    ("path", "use"), [("/v1/chat/completions", "use POST"), ("/v1/messages", "use POST")]
)
async def test_a_wrong_method_is_told_the_right_one(site: Site, path: str, use: str) -> None:
    status, body = await told(site, "GET", path)

    assert status == 405
    assert body["error"]["message"] == f"GET {path}: {use}"


def test_another_wrong_path_suggests_nothing(site: Site) -> None:
    host, _, port = site.origin.removeprefix("http://").partition(":")
    connection = http.client.HTTPConnection(host, int(port))
    connection.request("POST", "/v1/completions", b"{}", {"authorization": "Bearer sk-open"})

    body = json.loads(connection.getresponse().read())

    connection.close()
    assert body["error"]["message"] == "Invalid URL (POST /v1/completions)"
