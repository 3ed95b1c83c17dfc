"""The contract of detectors: run it against yours by subclassing `DetectorContract`."""

from __future__ import annotations

import threading
from abc import abstractmethod

from splice.ports.policies import Detector, Found

ODD = (
    "", " ", "\n" * 50, "\0", "\x1e", "\ufeff", "\u202e\u202d", "e\u0301" * 200, "\U0010ffff",
    "a" * 50_000, "%" * 5000, "&#" * 2000, "[" * 5000, "<" * 5000, "﷽" * 100, "日本語" * 500,
)  # fmt: skip


class DetectorContract:
    """What every Detector keeps."""

    redacts = False
    """Whether it can take out what it finds."""

    @abstractmethod
    def detector(self) -> Detector:
        """A detector."""

    @abstractmethod
    def bad(self) -> str:
        """A text in which it finds something."""

    @abstractmethod
    def good(self) -> str:
        """A text in which it finds nothing."""

    def test_it_finds_what_it_is_for_and_nothing_else(self) -> None:
        detector = self.detector()

        assert isinstance(detector.find(self.bad()), Found)
        assert detector.find(self.good()) is None

    def test_what_it_says_is_short_and_none_of_the_words(self) -> None:
        found = self.detector().find(self.bad())

        assert found is not None
        assert 0 < len(found.what) <= 60
        assert found.count >= 1
        assert len(found.what) < 12 or found.what not in self.bad()

    def test_it_says_the_same_of_the_same_text(self) -> None:
        detector = self.detector()

        assert detector.find(self.bad()) == detector.find(self.bad())

    def test_odd_texts_are_looked_at_like_any_other(self) -> None:
        detector = self.detector()

        for text in ODD:
            found = detector.find(text)
            assert found is None or isinstance(found, Found)

    def test_several_threads_may_ask_at_once(self) -> None:
        detector = self.detector()
        expected = detector.find(self.bad())
        said: list[bool] = []

        def ask() -> None:
            for _ in range(20):
                said.append(
                    detector.find(self.bad()) == expected and detector.find(self.good()) is None
                )

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for one in threads:
            one.start()
        for one in threads:
            one.join()

        assert len(said) == 80
        assert all(said)

    def test_what_it_takes_out_is_gone(self) -> None:
        detector = self.detector()
        if not self.redacts:
            return

        assert detector.find(detector.redact(self.bad())) is None
        assert detector.redact(self.good()) == self.good()
