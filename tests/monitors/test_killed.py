"""A process that is killed in mid-round leaves nothing forgotten, doubled or half done."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from monitor_house import House, monitor

from splice.control.rollouts import Rollouts
from splice.control.undoing import Undoing

BACK = monitor(then=("alert", "roll back"))

ROUND = """
    import os, signal, sys
    sys.path.insert(0, sys.argv[1])
    from pathlib import Path
    from monitor_house import House
    from splice.control.rollouts import Rollouts
    from splice.control.undoing import Undoing

    house, when = House(Path(sys.argv[2])), sys.argv[4]
    house.now, house.value = int(sys.argv[3]), 0.05
    ledger = house.ledger
    undoing = Undoing(Rollouts(ledger.releases, ledger.models), ledger.models, ledger.alerts,
                      ledger.audit)
    settle = ledger.alerts.settle

    def die(*_, **__):
        os.kill(os.getpid(), signal.SIGKILL)

    def settle_and_die(turn):
        settle(turn)
        die()

    def act_and_die(alert, now_us):
        undoing.roll_back(alert, now_us)
        die()

    house.deeds = {"roll back": die if when == "before it acts" else act_and_die}
    if when == "before it is stored":
        ledger.alerts.settle = die
    if when == "after it is stored":
        ledger.alerts.settle = settle_and_die
    house.rounds().look(house.now)
"""


@pytest.mark.parametrize(
    "when", ["before it is stored", "after it is stored", "before it acts", "after it acted"]
)
def test_a_round_that_is_killed_is_finished_by_the_next(
    house: House, tmp_path: Path, when: str
) -> None:
    ledger = house.ledger
    for bundle in "abc":
        house.apply(BACK, bundle=bundle)
    house.after(1, 0.01)
    undoing = Undoing(
        Rollouts(ledger.releases, ledger.models), ledger.models, ledger.alerts, ledger.audit
    )
    house.deeds = {"roll back": undoing.roll_back}
    house.now += 60_000_000

    arguments = [str(Path(__file__).parent), str(tmp_path), str(house.now), when]
    killed = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(ROUND), *arguments],
        capture_output=True, check=False, env={**os.environ},
    )  # fmt: skip
    house.value = 0.05
    house.rounds().look(house.now)
    house.rounds().look(house.now)
    first = house.alerts()[0]
    rollbacks = [one for one in ledger.audit.events() if one.action == "monitor.rollback"]

    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert (first.deeds[0].state, first.deeds[0].detail) == (
        "done", "release 2 answers instead of 3",
    )  # fmt: skip
    assert [one.details["alert"] for one in rollbacks] == [first.id]
    assert ledger.releases.live()[0].number == 2
    kinds = [one.kind for one in ledger.alerts.waiting_notes(["oncall"]) if one.alert == first.id]
    assert sorted(kinds) == ["acted", "opened", "resolved"]
