"""Errors as OpenAI's own client raises them, and what it tries again."""

from __future__ import annotations

import http.client
import json
from typing import Any

import openai
import pytest
from openai_desk import Site
from openai_fixtures import client, open_door, site
from openai_samples import completion

from splice.core import errors
from splice.core.access import Key
from splice.core.release import NotLoaded

__all__ = ["client", "open_door", "site"]

ASK: list[Any] = [{"role": "user", "content": "Hi"}]
OVER = errors.OverBudget("team growth", got="EUR 50.00 spent", promised="at most EUR 50 a month")

RAISED = [
    (errors.InputMismatch("messages", got="x"), openai.BadRequestError, 400, "invalid_type"),
    (errors.UnknownKey("key", got="a key"), openai.AuthenticationError, 401, "invalid_api_key"),
    (errors.NotAllowed("model"), openai.PermissionDeniedError, 403, "not_allowed"),
    (errors.UnknownModel("model", got="'x'"), openai.NotFoundError, 404, "model_not_found"),
    (errors.UnknownIntegration("x"), openai.NotFoundError, 404, "model_not_found"),
    (errors.KeyInFlight("key"), openai.ConflictError, 409, "idempotency_key_in_flight"),
    (errors.BodyTooLarge("body"), openai.APIStatusError, 413, "body_too_large"),
    (errors.KeyReused("key"), openai.UnprocessableEntityError, 422, "idempotency_key_reused"),
    (OVER, openai.RateLimitError, 429, "insufficient_quota"),
    (
        errors.RateLimited("key", retry_after=0.02),
        openai.RateLimitError, 429, "rate_limit_exceeded",
    ),
    (errors.Stopped("triage"), openai.InternalServerError, 503, "stopped"),
    (NotLoaded("triage"), openai.InternalServerError, 503, "not_loaded"),
    (errors.Overloaded("server"), openai.InternalServerError, 503, "overloaded"),
    (errors.MeterAway("budget"), openai.InternalServerError, 503, "meter_away"),
    (errors.ExhaustedError("triage"), openai.InternalServerError, 503, "exhausted"),
    (errors.RouteTimeout("openai"), openai.InternalServerError, 504, "timeout"),
    (errors.ProviderFailed("openai"), openai.InternalServerError, 502, "provider_failed"),
    (errors.RefusedError("triage"), openai.PermissionDeniedError, 403, "refused"),
]  # fmt: skip


@pytest.mark.parametrize("raised", [True, False])
@pytest.mark.parametrize(
    ("error", "kind", "status", "code"), RAISED, ids=[one[0].code for one in RAISED]
)
def test_each_error_is_the_one_that_the_client_has_for_it(
    site: Site,
    error: errors.SpliceError,
    kind: type[openai.APIStatusError],
    status: int,
    code: str,
    raised: bool,
) -> None:
    if raised:
        site.engine.answering = error
    else:
        site.fails(error)

    with (
        openai.OpenAI(api_key="sk-open", base_url=site.base_url, max_retries=0) as client,
        pytest.raises(kind) as caught,
    ):
        client.chat.completions.create(model="triage", messages=ASK)

    assert type(caught.value) is kind
    assert caught.value.status_code == status
    assert caught.value.code == code
    assert caught.value.request_id == site.call.id
    assert error.where in caught.value.message


def test_every_error_of_ours_has_a_status_and_a_type(site: Site) -> None:
    def all_below(kind: type[errors.SpliceError]) -> list[type[errors.SpliceError]]:
        return [kind, *(one for sub in kind.__subclasses__() for one in all_below(sub))]

    from splice.serve.openai.faults import kind_of, shown

    for kind in all_below(errors.SpliceError):
        error = kind("x", retry_after=1) if kind is errors.RateLimited else kind("x")  # type: ignore[call-arg]
        assert 400 <= kind_of(error).status < 600
        assert shown(error)["type"]


@pytest.mark.parametrize("error", [OVER, errors.Stopped("triage")], ids=["budget", "stopped"])
def test_what_trying_again_cannot_mend_is_asked_once(
    site: Site, client: openai.OpenAI, error: errors.SpliceError
) -> None:
    site.fails(error)

    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="triage", messages=ASK)

    assert len(site.engine.asked) == 1
    assert caught.value.response.headers["x-should-retry"] == "false"


def test_a_rate_limit_is_waited_for(site: Site, client: openai.OpenAI) -> None:
    limited = errors.RateLimited("key", retry_after=0.02, got="61 requests", promised="60")
    site.fails(limited)
    refusing = site.engine.answering
    site.says(completion())
    answering = site.engine.answering
    assert callable(refusing)
    assert callable(answering)
    site.engine.answering = lambda call, asked: (
        refusing if len(site.engine.asked) < 3 else answering
    )(call, asked)

    answer = client.chat.completions.create(model="triage", messages=ASK)

    assert answer.choices[0].message.content == "Hello there."
    assert len(site.engine.asked) == 3


def test_a_rate_limit_says_how_long_to_wait(site: Site) -> None:
    site.fails(errors.RateLimited("key", retry_after=12.3))

    status, headers, _ = ask(site, "POST", "/v1/chat/completions", {"model": "m", "messages": ASK})

    assert status == 429
    assert headers["retry-after"] == "13"
    assert headers["retry-after-ms"] == "12300"
    assert "x-should-retry" not in headers


def ask(
    site: Site, method: str, path: str, body: Any = None, **headers: str
) -> tuple[int, dict[str, str], Any]:
    """One request without a client of OpenAI's."""
    connection = http.client.HTTPConnection(site.origin.removeprefix("http://"), timeout=20)
    try:
        payload = body if isinstance(body, bytes) else json.dumps(body).encode()
        given = {"authorization": "Bearer sk-open", **headers}
        connection.request(method, path, payload, given)
        answer = connection.getresponse()
        named = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, named, json.loads(answer.read())
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/v1/completions", 404, "unknown_url"),
        ("GET", "/v1/models/none", 404, "model_not_found"),
        ("GET", "/v1/models/%0d%0ax-evil:%201", 404, "model_not_found"),
    ],
)
def test_wrong_paths_and_methods_are_told_in_openais_shape(
    site: Site, method: str, path: str, status: int, code: str
) -> None:
    got, headers, body = ask(site, method, path)

    assert got == status
    assert body["error"]["code"] == code
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert "x-evil" not in headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": "Bearer sk-open"}, 200),
        ({"authorization": "bearer   sk-open "}, 200),
        ({"authorization": "", "x-api-key": "sk-open"}, 200),
        ({"authorization": "", "api-key": "sk-open"}, 200),
        ({"authorization": "Basic c2stb3Blbg=="}, 401),
        ({"authorization": "Bearer sk-wrong"}, 401),
        ({"authorization": ""}, 401),
    ],
)
def test_a_key_is_found_wherever_a_client_puts_it(
    site: Site, headers: dict[str, str], status: int
) -> None:
    got, _, body = ask(site, "GET", "/v1/models", **headers)

    assert got == status
    assert "sk-wrong" not in json.dumps(body)


def test_the_key_of_a_caller_is_the_principal_of_his_call(site: Site) -> None:
    site.engine.keyring.keys["sk-1"] = Key("k1", "billing", "", tenant="acme")
    site.says(completion())

    with openai.OpenAI(api_key="sk-1", base_url=site.base_url) as client:
        client.chat.completions.create(model="triage", messages=ASK)

    assert site.call.caller == "billing"
    assert site.call.principal.tenant == "acme"


def test_no_header_is_made_of_a_callers_characters(site: Site) -> None:
    from splice.core.call import Usage
    from splice.core.chat import Dialect, WireReply
    from splice.engine.converse import Spoken

    route = "llm:openai/gpt\r\nset-cookie: a=b\r\n\r\n<p>ä"
    reply = WireReply(Dialect.CHAT, b"{}", Usage(), "m")
    site.engine.answering = lambda call, asked: Spoken(call.id, "triage", 1, route, reply=reply)

    status, headers, _ = ask(site, "POST", "/v1/chat/completions", {"model": "m", "messages": ASK})

    assert status == 200
    assert "set-cookie" not in headers
    assert headers["splice-route"] == ascii(route)


def test_a_header_with_odd_characters_is_not_passed_to_a_provider(site: Site) -> None:
    site.says(completion())

    ask(
        site, "POST", "/v1/chat/completions", {"model": "m", "messages": ASK},
        **{"openai-beta": "a\tb"},
    )  # fmt: skip

    assert site.asked.headers == {}


def test_a_mistake_of_ours_is_a_500_that_tells_nothing(site: Site) -> None:
    def crash(call: Any, asked: Any) -> Any:
        raise RuntimeError("secret-42")

    site.engine.answering = crash

    status, _, body = ask(site, "POST", "/v1/chat/completions", {"model": "m", "messages": ASK})

    assert status == 500
    assert body["error"]["type"] == "server_error"
    assert "secret-42" not in json.dumps(body)
