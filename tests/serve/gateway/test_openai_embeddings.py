"""Embeddings and the list of models, through OpenAI's own client."""

from __future__ import annotations

import base64
import struct
from typing import Any

import msgspec
import openai
import pytest
from openai_desk import Site, said
from openai_fixtures import client, open_door, site

from splice.core.access import Key
from splice.core.chat import Dialect

__all__ = ["client", "open_door", "site"]

VECTORS = [[0.5, -0.25, 1e-3], [1.0, 2.0, 3.0]]


def embeds(site: Site, *embeddings: Any) -> bytes:
    """Answer with these embeddings; gives the body."""
    body = msgspec.json.encode(
        {
            "object": "list",
            "model": "minilm",
            "data": [
                {"object": "embedding", "index": i, "embedding": one}
                for i, one in enumerate(embeddings)
            ],
            "usage": {"prompt_tokens": 3, "total_tokens": 3},
        }
    )
    site.engine.answering = lambda call, asked: said(call, body, Dialect.EMBEDDINGS)
    return body


def packed(vector: list[float]) -> str:
    """As OpenAI packs it."""
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()


def test_numbers_come_as_the_base64_that_the_client_asks_for(
    site: Site, client: openai.OpenAI
) -> None:
    embeds(site, *VECTORS)

    answer = client.embeddings.create(model="search", input=["a", "b"])

    assert bytes(site.asked.fields["encoding_format"]) == b'"base64"'
    assert [one.index for one in answer.data] == [0, 1]
    for one, vector in zip(answer.data, VECTORS, strict=True):
        assert one.embedding == pytest.approx(vector)
    assert answer.usage.prompt_tokens == 3


def test_the_base64_on_the_wire_is_of_little_endian_floats(
    site: Site, client: openai.OpenAI
) -> None:
    embeds(site, *VECTORS)

    raw = client.embeddings.with_raw_response.create(
        model="search", input="a", encoding_format="base64"
    )

    rows = msgspec.json.decode(raw.http_response.content)["data"]
    assert [row["embedding"] for row in rows] == [packed(vector) for vector in VECTORS]


@pytest.mark.parametrize("form", ["base64", "float"])
def test_what_the_provider_gives_in_the_right_form_passes_as_it_is(
    site: Site, client: openai.OpenAI, form: Any
) -> None:
    given = [packed(one) for one in VECTORS] if form == "base64" else VECTORS
    body = embeds(site, *given)

    raw = client.embeddings.with_raw_response.create(
        model="search", input="a", encoding_format=form
    )

    assert raw.http_response.content == body


@pytest.mark.parametrize("given", ["a text", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
def test_texts_and_tokens_pass(site: Site, client: openai.OpenAI, given: Any) -> None:
    embeds(site, VECTORS[0])

    client.embeddings.create(model="search", input=given, dimensions=3, user="u")

    assert site.asked.dialect is Dialect.EMBEDDINGS
    assert msgspec.json.decode(site.asked.fields["input"]) == given


@pytest.mark.parametrize(
    ("given", "param"),
    [
        (7, "input"), (["a", 1], "input"), ([], "input"), ([["a"]], "input[0][0]"),
        ([1.5], "input[0]"), (None, "input"), ([[1], "a"], "input"),
    ],
)  # fmt: skip
def test_other_inputs_are_refused(
    site: Site, client: openai.OpenAI, given: Any, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.embeddings.create(model="search", input=given)

    assert caught.value.param == param
    assert site.engine.asked == []


def test_an_answer_that_is_none_is_the_providers_fault(site: Site) -> None:
    site.engine.answering = lambda call, asked: said(call, b'{"data":3}', Dialect.EMBEDDINGS)

    with (
        openai.OpenAI(api_key="sk-open", base_url=site.base_url, max_retries=0) as client,
        pytest.raises(openai.InternalServerError) as caught,
    ):
        client.embeddings.create(model="search", input="a")

    assert caught.value.status_code == 502
    assert caught.value.code == "bad_answer"


def test_an_answer_to_another_question_is_not_taken_for_embeddings(site: Site) -> None:
    site.says({"object": "chat.completion", "choices": []})

    with (
        openai.OpenAI(api_key="sk-open", base_url=site.base_url, max_retries=0) as client,
        pytest.raises(openai.InternalServerError, match="an answer of chat"),
    ):
        client.embeddings.create(model="search", input="a")


def test_models_are_integrations_and_their_aliases(site: Site, client: openai.OpenAI) -> None:
    site.engine.serves("triage", "triage-fast", "t1")
    site.engine.serves("search")

    models = list(client.models.list())

    assert [one.id for one in models] == ["search", "t1", "triage", "triage-fast"]
    assert {one.owned_by for one in models} == {"splice"}
    assert {one.created for one in models} == {1_700_000_000}
    assert client.models.retrieve("triage-fast").id == "triage-fast"


def test_a_key_sees_only_what_it_may_call(site: Site) -> None:
    site.engine.serves("triage", "triage-fast")
    site.engine.serves("search")
    site.engine.keyring.keys["sk-search"] = Key("k1", "search team", "", integrations=("sea*",))

    with openai.OpenAI(api_key="sk-search", base_url=site.base_url) as client:
        seen = [one.id for one in client.models.list()]

        assert seen == ["search"]
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("triage-fast")

    assert caught.value.code == "model_not_found"
    assert "triage" not in str(caught.value).replace("'triage-fast'", "")
