"""Keys at a real server: wrong, ended, from elsewhere, out of scope; and never repeated."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import anthropic
import msgspec
import openai
import pytest
from gw_house import BASE, CHAT, HELLO, MESSAGES, Gateway, eventually, provider, serving

from splice.core.access import key_token
from splice.testing.openai_server import OpenAIServer, Scripted
from splice.testing.project import Answer

NATIVE = "/v1/integrations/talk/calls"
PEPPER = "pepper-of-the-house"
SHORT = {"max_tokens": 5}

INTEGRATIONS = '''
import splice


class Talk(splice.Conversation):
    """Talk."""

    aliases = ["gpt-house"]
    models = ["a/*"]
    routes = [splice.LLM("a/m", retries=0)]


class Secret(splice.Conversation):
    """Talk of what not everybody may know."""

    aliases = ["gpt-secret"]
    models = ["b/*"]
    routes = [splice.LLM("a/m", retries=0)]
'''


@pytest.fixture(scope="module")
def upstream() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture(scope="module")
def gateway(upstream: OpenAIServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    toml = BASE + provider("a", upstream.base_url) + provider("b", upstream.base_url)
    toml += '[access]\npepper_env = "HOUSE_PEPPER"\n'
    folder = tmp_path_factory.mktemp("keys")
    with serving(
        folder, toml, INTEGRATIONS, workers=2, pepper=PEPPER, HOUSE_PEPPER=PEPPER
    ) as running:
        running.share_keys(
            house={},
            ended={"expires": "500 ms"},
            here={"addresses": ("127.0.0.0/8",)},
            elsewhere={"addresses": ("10.0.0.0/8", "2001:db8::/32")},
            secret={"integrations": ("secret",)},
            talk={"integrations": ("talk",)},
            namer={"integrations": ("talk",), "models": ("a/m*",)},
            streaming={},
            revoked={},
        )
        yield running


def ask(gateway: Gateway, path: str, key: str, **more: Any) -> Answer:
    body = {"model": "talk", "messages": HELLO, **SHORT, **more}
    if path == NATIVE:
        del body["model"]
    elif path == "/v1/responses":
        body = {"model": body["model"], "input": "hi"}
    return gateway.server.post(path, body, authorization=f"Bearer {key}")


def everywhere(gateway: Gateway, path: str, key: str) -> list[Answer]:
    """Answers of all workers, as far as a dozen connections find each of them."""
    return [ask(gateway, path, key) for _ in range(12)]


@pytest.mark.parametrize("path", [CHAT, MESSAGES, NATIVE, "/v1/responses"])
@pytest.mark.parametrize(
    "bend",
    [
        lambda key: "",
        lambda key: "none",
        lambda key: key[:-1],
        lambda key: key[:-1] + ("A" if key[-1] != "A" else "B"),
        lambda key: key + "A",
        lambda key: key.upper(),
        lambda key: key_token("z" * 10, key.rpartition("-")[2]),
        lambda key: key * 100,
        lambda key: "\xff\x00\x80".replace("\x00", ""),
    ],
    ids=["none", "word", "short", "other", "long", "upper", "id", "many", "bytes"],
)
def test_a_wrong_key_is_401_in_the_shape_of_its_door(
    gateway: Gateway, path: str, bend: Any
) -> None:
    good = gateway.shared_key("house")

    answer = ask(gateway, path, bend(good))

    assert answer.status == 401
    if path == MESSAGES:
        assert answer.json["error"]["type"] == "authentication_error"
    elif path == NATIVE:
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json["code"] == "unknown_key"
    else:
        assert answer.json["error"]["code"] == "invalid_api_key"
    assert good not in answer.body.decode()
    assert ask(gateway, path, good).status == 200


def test_the_clients_raise_what_they_raise_at_their_vendors(gateway: Gateway) -> None:
    secret = gateway.shared_key("secret")
    ended = gateway.shared_key("ended")

    for client in (gateway.openai("sk-wrong"), gateway.openai(ended)):
        with pytest.raises(openai.AuthenticationError):
            client.chat.completions.create(model="talk", messages=HELLO)
    for other in (gateway.anthropic("sk-wrong"), gateway.anthropic(ended)):
        with pytest.raises(anthropic.AuthenticationError):
            other.messages.create(model="talk", messages=HELLO, max_tokens=5)
    with pytest.raises(openai.NotFoundError) as caught:
        gateway.openai(secret).chat.completions.create(model="talk", messages=HELLO)
    assert caught.value.code == "model_not_found"
    with pytest.raises(anthropic.NotFoundError):
        gateway.anthropic(secret).messages.create(model="talk", messages=HELLO, max_tokens=5)
    shown = {one.id for one in gateway.openai(secret).models.list().data}
    assert shown == {"secret", "gpt-secret"}


def test_a_key_that_is_revoked_ends_on_all_workers_within_a_second(gateway: Gateway) -> None:
    key = gateway.shared_key("revoked")
    for path in (CHAT, MESSAGES, NATIVE):
        assert {one.status for one in everywhere(gateway, path, key)} == {200}

    gateway.stores.keys.revoke_key(key.split("-")[2], time.time_ns() // 1000)
    gateway.takes_hold()

    for path in (CHAT, MESSAGES, NATIVE):
        refused = everywhere(gateway, path, key)
        assert {one.status for one in refused} == {401}
        assert all("revoked" in one.body.decode() for one in refused)
        assert not any(key in one.body.decode() for one in refused)


def test_a_stream_that_runs_is_not_cut_by_the_end_of_its_key(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    upstream.always = Scripted(text="one two three", pause_s=0.3)
    key = gateway.shared_key("streaming")
    stream = gateway.openai(key).chat.completions.create(model="talk", messages=HELLO, stream=True)

    gateway.stores.keys.revoke_key(key.split("-")[2], time.time_ns() // 1000)
    said = "".join(one.choices[0].delta.content or "" for one in stream)

    upstream.always = Scripted()
    assert said == "one two three"


def test_a_key_is_good_only_from_its_addresses(gateway: Gateway) -> None:
    here = gateway.shared_key("here")
    elsewhere = gateway.shared_key("elsewhere")

    for path in (CHAT, MESSAGES, NATIVE):
        assert ask(gateway, path, here).status == 200
        refused = ask(gateway, path, elsewhere)
        assert refused.status == 401
        assert "127.0.0.1" in refused.body.decode()
        forged = gateway.server.post(
            path,
            {"model": "talk", "messages": HELLO, **SHORT},
            authorization=f"Bearer {elsewhere}",
            x_forwarded_for="10.1.2.3",
            forwarded="for=10.1.2.3",
            x_real_ip="10.1.2.3",
        )
        assert forged.status == 401


def test_a_key_reaches_its_integrations_and_models_and_no_other(gateway: Gateway) -> None:
    talk = gateway.shared_key("talk")
    namer = gateway.shared_key("namer")

    def statuses(key: str, *models: str) -> list[int]:
        return [
            ask(gateway, path, key, model=model).status
            for model in models
            for path in (CHAT, MESSAGES)
        ]

    assert statuses(talk, "talk", "gpt-house") == [200] * 4
    assert statuses(talk, "secret", "gpt-secret", "b/m", "secret/b/m", "nothing") == [404] * 10
    assert statuses(talk, "a/m", "talk/a/m") == [403] * 4
    assert statuses(namer, "a/m", "talk/a/m", "a/m2") == [200] * 6
    assert statuses(namer, "a/other", "talk/a/other") == [403] * 4
    assert statuses(namer, "b/m", "secret/b/m") == [404] * 4
    native = gateway.server.post(
        "/v1/integrations/secret/calls", {"messages": HELLO}, authorization=f"Bearer {talk}"
    )
    assert (native.status, native.json["code"]) == (403, "not_allowed")


def test_a_key_sees_the_calls_of_its_integrations_and_no_other(gateway: Gateway) -> None:
    talk = gateway.shared_key("talk")
    house = gateway.shared_key("house")
    answer = gateway.ask({"model": "secret", **SHORT}, key=house)
    call_id = answer.headers["splice-call-id"]
    gateway.record(call_id)

    def get(path: str, key: str) -> Answer:
        return gateway.server.ask("GET", path, authorization=f"Bearer {key}")

    assert get(f"/v1/calls/{call_id}", house).status == 200
    assert get(f"/v1/calls/{call_id}", talk).status in (403, 404)
    assert {one["integration"] for one in get("/v1/calls", talk).json["calls"]} <= {"talk"}
    assert get("/v1/calls?integration=secret", talk).json.get("calls", []) == []
    assert call_id in get("/v1/calls?integration=secret", house).body.decode()
    assert gateway.server.get(f"/v1/calls/{call_id}").status == 401
    assert gateway.server.get("/v1/calls").status == 401
    assert gateway.server.get("/v1/integrations").status == 401
    told = get("/v1/integrations", talk).body.decode()
    assert "secret" not in told
    models = get("/v1/models", talk).body.decode()
    assert "secret" not in models


def test_the_key_is_taken_from_either_header_and_never_goes_to_the_provider(
    gateway: Gateway, upstream: OpenAIServer
) -> None:
    key = gateway.shared_key("house")
    upstream.asked.clear()

    for headers in ({"x_api_key": key}, {"authorization": f"bearer {key}"}, {"api_key": key}):
        for path in (CHAT, NATIVE):
            body = {"model": "talk", "messages": HELLO, **SHORT}
            answer = gateway.server.post(path, body, **headers)
            assert answer.status == 200, (path, headers)

    sent = msgspec.json.encode([[one.headers, one.body] for one in upstream.asked]).decode()
    assert len(upstream.asked) == 6
    assert key not in sent
    assert "sk-splice" not in sent


def test_no_key_is_in_any_log(gateway: Gateway) -> None:
    # Those above were all shown to this server.
    assert "sk-splice-" not in gateway.server.log
    assert PEPPER not in gateway.server.log
    assert "Traceback" not in gateway.server.log
    eventually(lambda: gateway.in_flight() == 0)
