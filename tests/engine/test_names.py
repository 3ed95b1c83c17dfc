"""Names that mean nothing: the error says what would."""

from __future__ import annotations

import pytest
from chat_house import Chatting, ScriptedProvider, balanced, chat_line

from splice.core.access import ANYONE, Key, Principal
from splice.core.errors import UnknownModel
from splice.engine.names import Names


def refused(names: Names, model: str, principal: Principal = ANYONE) -> str:
    with pytest.raises(UnknownModel) as caught:
        names.find(model, principal)
    return str(caught.value)


@pytest.fixture
def names() -> Names:
    line = chat_line(Chatting, balanced(ScriptedProvider()), balanced(ScriptedProvider()))
    return Names({line.name: line})


async def test_a_slip_in_a_name_is_answered_with_the_nearest(names: Names) -> None:
    text = refused(names, "chating")

    assert "Did you mean chatting?" in text
    assert "one of chatting, fast" in text


async def test_a_model_that_no_conversation_allows_is_told_how_to_allow_it(names: Names) -> None:
    text = refused(names, "openai/gpt-5")

    assert 'models = ["openai/*"] in a Conversation' in text
    assert "or call chatting" in text
    assert "a model of a/*" in text


async def test_a_key_that_reaches_nothing_is_said_to_and_learns_no_name(names: Names) -> None:
    key = Key("k", "k", "", integrations=("other",))

    text = refused(names, "chatting", Principal("key:k", key=key))

    assert "a key that reaches no integration" in text
    assert "fast" not in text
