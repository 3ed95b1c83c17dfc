"""Prompt files: their parts, their variables, and what is wrong with them, by line."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import msgspec
import pytest

from splice.core.errors import DeclarationError, ModelMismatch
from splice.declare.prompts import parse_prompt


class Plan(StrEnum):
    GOLD = "gold"


class Ticket(msgspec.Struct):
    text: str


TYPED = """+++
[variables]
text = { type = "str", max_length = 10 }
plan = ["free", "gold"]
age = "int"
score = "number"
known = "bool"
tags = { type = "list", max_length = 2 }
ticket = "object"
+++
## system
A {{plan}} customer of {{age}}, {{score}}, {{known}}.

## user
{{text}} {{ tags }} {{ticket}}
"""
VALUES: dict[str, Any] = {
    "text": "hello", "plan": "gold", "age": 40, "score": 0.5, "known": True, "tags": ["a"],
    "ticket": {"id": 1},
}  # fmt: skip


def test_a_file_without_variables_declared_is_what_it_was() -> None:
    prompt = parse_prompt("## system\nBe {{tone}}.\n## user\n{{ text }}\n", "a.md")

    assert prompt.declared is None
    assert prompt.variables == ("tone", "text")
    assert prompt.fill({"tone": 5, "text": "{{tone}}"}) == [
        ("system", "Be 5."), ("user", "{{tone}}"),
    ]  # fmt: skip
    assert parse_prompt("only this", "a.md").parts[0].role == "user"


def test_declared_variables_are_filled_when_they_fit() -> None:
    prompt = parse_prompt(TYPED, "a.md")

    assert prompt.fill(VALUES) == [
        ("system", "A gold customer of 40, 0.5, true."),
        ("user", 'hello ["a"] {"id":1}'),
    ]
    rich = {**VALUES, "plan": Plan.GOLD, "ticket": Ticket("x"), "tags": ("a", "b"), "score": 3}
    assert prompt.fill(rich)[1] == ("user", 'hello ["a","b"] {"text":"x"}')


@pytest.mark.parametrize(
    ("name", "value", "got", "promised"),
    [
        ("text", 5, "a value of type int", "str, at most 10 characters"),
        ("text", "x" * 11, "11 characters", "str, at most 10 characters"),
        ("text", None, "nothing", "str"),
        ("plan", "silver", "'silver'", "one of free, gold"),
        ("plan", "s" * 900, "s" * 40 + "…", "one of free, gold"),
        ("age", 4.5, "a value of type number", "int"),
        ("age", True, "a value of type bool", "int"),
        ("age", "40", "a value of type str", "int"),
        ("score", True, "a value of type bool", "number"),
        ("known", 1, "a value of type int", "bool"),
        ("tags", ["a", "b", "c"], "3 items", "list, at most 2 items"),
        ("tags", {"a": 1}, "a value of type object", "list"),
        ("ticket", [1], "a value of type list", "object"),
        ("ticket", object(), "a value of type object", "object"),
    ],
)
def test_a_value_that_is_not_what_is_declared_is_named(
    name: str, value: Any, got: str, promised: str
) -> None:
    prompt = parse_prompt(TYPED, "a.md")

    with pytest.raises(ModelMismatch) as caught:
        prompt.fill({**VALUES, name: value})

    assert caught.value.where == f"a.md.{name}"
    assert got in caught.value.got
    assert len(caught.value.got) < 60
    assert promised in caught.value.promised


def test_a_context_that_lacks_a_variable_is_told_which() -> None:
    with pytest.raises(ModelMismatch, match=r"a\.md\.age: got a context of text"):
        parse_prompt("{{text}} {{age}}", "a.md").fill({"text": "x"})


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("+++\n[variables]\na = \"txt\"\n+++\n{{a}}", 3, "'txt'"),
        ("+++\n[variables]\n\na = { type = \"int\", max_length = 3 }\n+++\n{{a}}", 4, "max_length"),
        ("+++\n[variables]\na = { type = \"str\", max_length = 0 }\n+++\n{{a}}", 3, "max_length"),
        ("+++\n[variables]\na = { type = \"str\", min = 1 }\n+++\n{{a}}", 3, "min"),
        ("+++\n[variables]\na = []\n+++\n{{a}}", 3, "one of str, int"),
        ("+++\n[variables]\na = [1]\n+++\n{{a}}", 3, "one of str, int"),
        ("+++\n[variables]\n\"a b\" = \"str\"\n+++\n{{a}}", 3, "'str'"),
        ("+++\n[variables]\na = str\n+++\n{{a}}", 3, "not TOML"),
        ("+++\n[variables\n+++\n{{a}}", 2, "not TOML"),
        ("\n+++\n[variables]\na = \"str\"\nb = \"str\"\n+++\n{{a}}", 5, "stands nowhere"),
        ("+++\n[variables]\na = \"str\"\n+++\n## user\n{{a}}\n{{b}}", 7, "not among"),
        ("+++\n+++\n{{b}}", 3, "not among"),
        ("+++\nmodel = \"x\"\n[variables]\na = \"str\"\n+++\n{{a}}", 2, "model"),
        ("+++\nvariables = 5\n+++\nx", 2, "variables"),
        ("+++\n[variables]\na = \"str\"\n{{a}}", 1, "second one"),
        ("+++\n[variables]\na = \"str\"\n+++\nhello\n## user\n{{a}}", 5, "before the first part"),
        ("## system\nonly this", 1, "user's turn"),
        ("", 1, "user's turn"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_carries_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(DeclarationError) as caught:
        parse_prompt(text, "a.md")

    assert said in str(caught.value)
    assert caught.value.line == line


def test_the_version_follows_every_byte_and_the_front_matter_is_no_part() -> None:
    typed, plain = parse_prompt(TYPED, "a.md"), parse_prompt(TYPED.rpartition("+++\n")[2], "a.md")

    assert typed.version != plain.version
    assert len(typed.version) == 12
    assert "+++" not in "".join(part.text for part in typed.parts)
    assert parse_prompt("x\n+++\ny\n+++\n", "a.md").declared is None


def test_a_prompt_before_a_callers_messages_needs_no_users_turn() -> None:
    rules = parse_prompt("Be brief.", "a.md", before=True)
    example = parse_prompt(
        "## system\nBe brief.\n## user\nHi\n## assistant\nHello", "a.md", before=True
    )

    assert [(part.role, part.text) for part in rules.parts] == [("system", "Be brief.")]
    assert [part.role for part in example.parts] == ["system", "user", "assistant"]


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("## system\nBe {{tone}}.", 2, "no variables"),
        ("## system\nBe brief.\n## user\nHi", 1, "assistant's turn"),
        ("## system\n\n", 1, "no text"),
    ],
)
def test_a_prompt_before_a_callers_messages_has_nothing_to_fill_it(
    text: str, line: int, said: str
) -> None:
    with pytest.raises(DeclarationError, match=said) as caught:
        parse_prompt(text, "a.md", before=True)

    assert caught.value.line == line
