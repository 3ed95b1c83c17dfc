"""Topics: what a text is about, by the example sentence that it is nearest to."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

from splice.ports.policies import Found

Encode: TypeAlias = "Callable[[Sequence[str]], Sequence[Sequence[float]]]"


class Topics:
    """A Detector of topics that may not be spoken of.

    A text is of the topic of the nearest example, where that is at least `least` (cosine) away from
    nothing; else it is of none. With `allow`, a text of none may not pass either.

    Args:
        encode: Texts to vectors of length 1.
        examples: Sentences by topic.
        allow: The only topics that pass; empty where `deny` says which do not.
        deny: Topics that do not pass.
        least: How near a text must be to an example.
    """

    immediate = False

    def __init__(
        self,
        encode: Encode,
        examples: Mapping[str, Sequence[str]],
        *,
        allow: Sequence[str] = (),
        deny: Sequence[str] = (),
        least: float = 0.5,
    ) -> None:
        self._encode = encode
        self._examples = [(topic, one) for topic, some in examples.items() for one in some]
        self._allow, self._deny, self._least = frozenset(allow), frozenset(deny), least
        self._vectors: Sequence[Sequence[float]] = ()
        self._learning = threading.Lock()

    def find(self, text: str) -> Found | None:
        """The topic where it may not pass, `other` where it is none of those allowed."""
        if not text.strip():
            return None
        topic = self.topic(text)
        if self._allow:
            return None if topic in self._allow else Found(topic or "other")
        return Found(topic) if topic in self._deny else None

    def topic(self, text: str) -> str:
        """The topic of a text; empty where it is of none."""
        with self._learning:
            if not self._vectors:
                self._vectors = self._encode([one for _, one in self._examples])
        vector = self._encode([text])[0]
        near = [math.fsum(map(_times, vector, other)) for other in self._vectors]
        best = max(range(len(near)), key=near.__getitem__)
        return self._examples[best][0] if near[best] >= self._least else ""

    def redact(self, text: str) -> str:
        """Not to be asked: a topic stands in no one place.

        Raises:
            NotImplementedError: Always.
        """
        raise NotImplementedError


def _times(a: float, b: float) -> float:
    return a * b
