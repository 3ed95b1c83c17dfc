"""Detectors that need nothing of the world: size, the prompt told again, and one that is down."""

from __future__ import annotations

import re
from collections.abc import Iterable

from splice.core.errors import ModelUnavailable
from splice.ports.policies import Found

_WORDS = re.compile(r"\w+")
_TOGETHER = 8
"""So many words in a row of a prompt are no chance."""


class Size:
    """A Detector of texts that are too long.

    Args:
        most: Characters that all together may have.
    """

    immediate = True

    def __init__(self, most: int) -> None:
        self.most = most

    def find(self, text: str) -> Found | None:
        """How many characters there are, where that is too many."""
        return None if len(text) <= self.most else Found(f"{len(text):,} characters")

    def redact(self, text: str) -> str:
        """Not to be asked.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError


class PromptTold:
    """A Detector of answers that tell the prompt again: eight of its words in a row.

    Of a shorter prompt, all of its words are looked for.

    Args:
        prompts: The prompts.
    """

    immediate = True

    def __init__(self, prompts: Iterable[str]) -> None:
        self._known: dict[int, set[tuple[str, ...]]] = {}
        for prompt in prompts:
            words = _WORDS.findall(prompt.lower())
            length = min(_TOGETHER, len(words))
            if length >= _TOGETHER // 2:  # "You are helpful" is said by many
                known = self._known.setdefault(length, set())
                known.update(
                    tuple(words[at : at + length]) for at in range(len(words) - length + 1)
                )

    def find(self, text: str) -> Found | None:
        """Whether it tells some of it."""
        words = _WORDS.findall(text.lower())
        for length, known in self._known.items():
            if any(
                tuple(words[at : at + length]) in known for at in range(len(words) - length + 1)
            ):
                return Found("the prompt")
        return None

    def redact(self, text: str) -> str:
        """Not to be asked.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError


class Down:
    """A Detector that could not be had: whoever asks it is told so.

    Args:
        why: What is wrong.
    """

    immediate = True

    def __init__(self, why: str) -> None:
        self._why = why

    def find(self, text: str) -> Found | None:
        """Nothing.

        Raises:
            ModelUnavailable: Always.
        """
        raise ModelUnavailable("policies", got=self._why)

    def redact(self, text: str) -> str:
        """Nothing.

        Raises:
            ModelUnavailable: Always.
        """
        raise ModelUnavailable("policies", got=self._why)
