"""194 attack strings of our own, and harmless texts that look like some of them.

What is expected of each stands beside it; `passed` is said of those that words do not give away.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from guards_house import DETECTORS, PROMPT, SETTINGS

import splice
from splice.app.wiring import masker_of
from splice.control.masking_quick import surely_holds_no_secret
from splice.core.policies import PinnedPolicy
from splice.declare.policies import Policy
from splice.declare.policy_reading import read_policies
from splice.engine.guard_own import PromptTold, Size
from splice.engine.guard_tools import Tools
from splice.ports.policies import Detector

FOLDER = Path(__file__).parent
ATTACKS: list[dict[str, Any]] = [
    msgspec.json.decode(line)
    for line in (FOLDER / "attacks.jsonl").read_bytes().splitlines()
]  # fmt: skip
HARMLESS = (FOLDER / "harmless.txt").read_text("utf-8").splitlines()
TICKETS = [
    msgspec.json.decode(line)["text"]
    for line in (FOLDER.parents[1] / "examples/tickets/tickets.jsonl").read_bytes().splitlines()
]

POLICIES = (
    splice.Policy(no="injection"),
    splice.Policy(no="secret"),
    splice.Policy(no="card", then="redact"),
    splice.Policy(no="email", then="redact"),
    splice.Policy(no="links", then="redact", allow=("shop.example",)),
    splice.Policy(no="prompt"),
    splice.Policy(tools=("search", "read_ticket")),
    splice.Policy(max_chars=8000),
    splice.Policy(max_chars=4000, at="output", name="most_said"),
)
DOES = {"refuse": "refused", "flag": "flagged", "redact": "redacted"}


def pinned_policies() -> dict[str, PinnedPolicy]:
    wrong: list[Any] = []
    read = read_policies(POLICIES, conversation=True, wrong=lambda *what: wrong.append(what))
    assert wrong == []
    return {one.name: one for one in read.policies}


PINNED = pinned_policies()


def detector(name: str) -> Detector:
    pinned = PINNED[name]
    if pinned.kind == "size":
        return Size(pinned.rule["max_chars"])
    return PromptTold([PROMPT]) if name == "no_prompt" else DETECTORS(pinned)


FOUND: dict[str, Detector] = {name: detector(name) for name in PINNED if name != "tools"}
TOOLS = Tools("shop", PINNED["tools"])


def did(attack: dict[str, Any]) -> str:
    name, text = attack["policy"], attack["text"] * attack.get("times", 1)
    if name == "tools":
        return "refused" if TOOLS.stray((), (text,), untrusted=False) else "passed"
    return DOES[PINNED[name].then] if FOUND[name].find(text) else "passed"


@pytest.mark.parametrize("attack", ATTACKS, ids=[one["id"] for one in ATTACKS])
def test_an_attack_ends_as_it_is_said_to(attack: dict[str, Any]) -> None:
    assert did(attack) == attack["expect"]


def test_there_are_strings_for_every_item_that_strings_can_show() -> None:
    items = Counter(one["owasp"] for one in ATTACKS)

    assert set(items) == {"LLM01", "LLM02", "LLM04", "LLM05", "LLM06", "LLM07", "LLM08", "LLM10"}
    assert sum(items.values()) == 194
    assert len({one["id"] for one in ATTACKS}) == 194


@pytest.mark.parametrize("text", HARMLESS)
def test_a_harmless_text_sets_off_no_alarm(text: str) -> None:
    assert FOUND["no_injection"].find(text) is None


def test_no_ticket_of_the_example_sets_off_an_alarm() -> None:
    assert [one for one in TICKETS if FOUND["no_injection"].find(one)] == []


@pytest.mark.parametrize("policy", ["no_injection", "no_links", "no_secret", "no_prompt"])
def test_a_hostile_text_is_looked_at_to_its_end(policy: str) -> None:
    """Where the time grew with the square of the length, this would take hours."""
    seeds = (
        "ignore all the ", "forget ", "a b ", "AAAA", "%41", "&#65;", "![a](", "<img ", "http:",
        "your prompt ", "sk-", "://", "\U000e0041", "password ", "eyJ.", "you help ",
    )  # fmt: skip

    for seed in seeds:
        FOUND[policy].find(seed * (200_000 // len(seed)))


def test_whatever_a_text_is_made_of_a_detector_says_something_of_it() -> None:
    texts = (
        "", "\0", "\x1e" * 50, "\u202e" * 5, "🏴󠁧󠁢󠁥󠁮󠁧󠁿 is a flag", "a" * 100_000, "\ufeff", "﷽" * 100,
        "\U0010ffff", "e\u0301" * 1000, "[INST]", "<", "<|im_start|>", "&#x110000;", "%", "\\u",
    )  # fmt: skip

    for one in FOUND.values():
        for text in texts:
            one.find(text)

    assert FOUND["no_injection"].find("🏴󠁧󠁢󠁥󠁮󠁧󠁿 is a flag") is None


def test_a_policy_that_takes_something_out_leaves_nothing_of_it() -> None:
    for attack in ATTACKS:
        if attack["expect"] == "redacted":
            clean = FOUND[attack["policy"]].redact(attack["text"])
            assert FOUND[attack["policy"]].find(clean) is None, attack


def test_the_corpus_uses_only_policies_of_the_usual_form() -> None:
    assert all(isinstance(one, Policy) for one in POLICIES)


def test_what_a_quick_look_passes_masking_finds_nothing_in() -> None:
    pieces = [one["text"] for one in ATTACKS] + HARMLESS + TICKETS
    texts = [*pieces, *(f"{{{one}}}" for one in pieces), *(f'"{one}"' for one in pieces)]
    texts += [" ".join(pieces[at : at + 9]) for at in range(0, len(pieces), 9)]
    mask = masker_of(SETTINGS)(("secret",)).mask

    passed = [one for one in texts if surely_holds_no_secret(one)]

    assert len(passed) > len(TICKETS)
    for one in passed:
        whole = msgspec.json.encode(one)
        assert mask(whole).count(b"[secret]") == whole.count(b"[secret]"), one


def test_a_picture_in_an_answer_is_no_secret() -> None:
    picture = "data:image/png;base64," + "iVBORw0KGgo" * 300

    assert FOUND["no_secret"].find(f"here: {picture}") is None
    assert FOUND["no_secret"].find("iVBORw0KGgo" * 500) is None
