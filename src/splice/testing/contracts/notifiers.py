"""What every Notifier must hold to.

Inherit `NotifierContract`. It wants the fixtures `notifier`, and `far_end`: a `FarEnd`, the real
receiver that it tells.
"""

from __future__ import annotations

from typing import Protocol

import msgspec
import pytest

from splice.core.alerts import Alert, Message, Note
from splice.core.errors import BusError
from splice.core.ids import derived_uuid7
from splice.ports.notifiers import Notifier
from splice.testing.contracts.alerts import NOW_US, alert_of

HOSTILE = (
    "<!channel> @everyone <script>alert(1)</script> \r\nBcc: eve@example.com\x1b[31m \u202eevil"
)


class FarEnd(Protocol):
    """The receiver of a test."""

    def taken(self) -> list[str]:
        """What it took: all that a person or a program would read of each message."""
        ...

    def ids(self) -> list[str]:
        """By what it can tell one that came twice."""
        ...

    def refuse(self) -> None:
        """From now on, answer that each message is not wanted, for what it is."""
        ...

    def be_busy(self) -> None:
        """From now on, answer that it cannot take anything for now."""
        ...

    def go_away(self) -> None:
        """Listen no more."""
        ...


def told(*texts: str, alert: Alert | None = None) -> Message:
    """A message with a piece of news for each text."""
    about = alert or alert_of(1)
    notes = tuple(
        Note("oncall", about.integration, about.id, "opened", NOW_US, "critical", text)
        for text in texts
    )
    message_id = derived_uuid7(NOW_US // 1000, *texts)
    return Message(message_id, "oncall", about.integration, "waiting", NOW_US, notes, (about,))


class NotifierContract:
    """A message arrives whole, or the sender learns why not."""

    def test_a_message_arrives_with_all_of_its_news(
        self, notifier: Notifier, far_end: FarEnd
    ) -> None:
        notifier.tell(told("5 % of calls failed", "p99 is 90 ms"))

        (text,) = far_end.taken()
        for word in ("credit", "share errors", "critical", "5 % of calls failed", "p99 is 90 ms"):
            assert word in text
        assert alert_of(1).measured is not None
        assert alert_of(1).measured.calls[0] in text  # type: ignore[union-attr]

    def test_one_that_comes_again_can_be_told(self, notifier: Notifier, far_end: FarEnd) -> None:
        notifier.tell(told("a"))
        notifier.tell(told("b"))
        notifier.tell(told("a"))

        first, second, third = far_end.ids()
        assert first == third != second

    def test_what_callers_sent_harms_no_reader(self, notifier: Notifier, far_end: FarEnd) -> None:
        alert = msgspec.structs.replace(alert_of(1), monitor=f"m {HOSTILE}", why=HOSTILE)

        notifier.tell(told(HOSTILE, alert=alert))

        (text,) = far_end.taken()
        assert "everyone" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert "\nBcc:" not in text

    def test_very_much_news_is_taken(self, notifier: Notifier, far_end: FarEnd) -> None:
        notifier.tell(told(*[f"{number} " + "x" * 5000 for number in range(100)]))

        (text,) = far_end.taken()
        assert "0 xxx" in text

    def test_a_receiver_that_is_busy_is_asked_again(
        self, notifier: Notifier, far_end: FarEnd
    ) -> None:
        far_end.be_busy()

        with pytest.raises(BusError) as caught:
            notifier.tell(told("a"))

        assert caught.value.retryable
        assert far_end.taken() == []

    def test_a_receiver_that_wants_no_such_message_is_believed(
        self, notifier: Notifier, far_end: FarEnd
    ) -> None:
        far_end.refuse()

        with pytest.raises(BusError) as caught:
            notifier.tell(told("a"))

        assert not caught.value.retryable
        assert far_end.taken() == []

    def test_a_receiver_that_is_away_is_asked_again(
        self, notifier: Notifier, far_end: FarEnd
    ) -> None:
        far_end.go_away()

        with pytest.raises(BusError) as caught:
            notifier.tell(told("a"))

        assert caught.value.retryable
