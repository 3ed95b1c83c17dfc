"""Signed heads: made in their turn, kept outside, whatever is killed, torn or set back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tampered import NOW_US, House

from splice.adapters.heads.files import HeadFile
from splice.adapters.heads.posted import PostedHeads
from splice.control.checkpoints import Checkpointer, Pace
from splice.control.signing import Signer, is_signed, new_key, read_public_key
from splice.core.errors import SettingsError, StoreError
from splice.core.heads import notes
from splice.testing.contracts.checkpoints import some_calls


@pytest.fixture
def house(sqlite_url: str, tmp_path: Path) -> Iterator[House]:
    house = House(sqlite_url, tmp_path)
    yield house
    house.ledger.close()


def numbers(file: Path) -> list[int]:
    return [one.head.number for one in notes(file.read_text("utf-8", "replace"))]


def test_a_head_says_what_is_there_and_verifies_with_the_public_key_alone(house: House) -> None:
    (head,) = notes((house.folder / "heads.txt").read_text())[2:]

    key = read_public_key(house.key.text(), "the key")
    assert is_signed(head, key)
    assert (head.head.calls, head.head.events, head.head.number) == (90, 12, 3)
    bent = notes(head.text.replace("\n90\n", "\n91\n"))[0]
    assert not is_signed(bent, key)


def test_nothing_new_makes_no_head(house: House) -> None:
    again = house.head(NOW_US + 60_000_000)

    assert again is not None
    assert again.head.number == 3
    assert numbers(house.folder / "heads.txt") == [1, 2, 3]


def test_a_head_is_made_after_its_time_or_after_so_many_calls(house: House) -> None:
    store = house.ledger.checkpoints
    pace = Pace(every_s=3600, every_calls=50)
    maker = Checkpointer(store, house.signer, house.heads, pace)
    house.ledger.records.append(some_calls(10, seed=7))
    store.sequence(100)
    maker.step(NOW_US + 4000)  # the time of the last head is not over
    early = numbers(house.folder / "heads.txt")
    house.ledger.records.append(some_calls(50, seed=8))
    store.sequence(100)
    maker.step(NOW_US + 5000)

    assert early == [1, 2, 3]
    assert numbers(house.folder / "heads.txt") == [1, 2, 3, 4]


def test_a_clock_that_was_set_back_makes_no_head_of_before(house: House) -> None:
    house.ledger.audit.add_event("a.b", "c", by="ada", now_us=5)

    head = house.head(NOW_US - 86_400_000_000)

    assert head is not None
    assert head.head.at_us == NOW_US + 2
    assert house.verified().broken is None


def test_two_who_make_heads_at_once_make_one_chain(house: House) -> None:
    def make(n: int) -> None:
        house.ledger.audit.add_event("a.b", f"s{n}", by="ada", now_us=n)
        house.checkpointer().make(NOW_US + n)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(make, range(12)))

    kept = numbers(house.folder / "heads.txt")
    assert kept == list(range(1, len(kept) + 1))
    assert house.verified().broken is None


def test_a_head_that_a_crash_left_half_is_written_whole_after_it(house: House) -> None:
    file = house.folder / "heads.txt"
    whole = file.read_bytes()
    for cut in (1, 40, 120, 200, 330):
        file.write_bytes(whole[:-cut])
        house.ledger.audit.add_event("a.b", f"s{cut}", by="ada", now_us=cut)

        house.head(NOW_US + 10)

        found = numbers(file)
        assert sorted(set(found)) == list(range(1, found[-1] + 1))
        whole = file.read_bytes()
    assert house.verified().broken is None


def test_heads_that_are_not_outside_yet_are_told_by_the_next_step(house: House) -> None:
    file = house.folder / "heads.txt"
    file.write_text("")

    house.checkpointer().step(NOW_US + 1)

    assert numbers(file) == [1, 2, 3]


_SCRIPT = """
import sys
from pathlib import Path
sys.path[:0] = sys.argv[3:]
from splice.adapters.heads.files import HeadFile
from splice.adapters.ledgers.sql import open_ledger
from splice.control.checkpoints import Checkpointer, Pace
from splice.control.signing import Signer
url, folder = sys.argv[1], Path(sys.argv[2])
ledger = open_ledger(url, folder / "blobs", migrate=False)
signer = Signer((folder / "key").read_text(), "key")
maker = Checkpointer(ledger.checkpoints, signer, HeadFile(folder / "heads.txt"), Pace())
n = 0
while True:
    n += 1
    ledger.audit.add_event("a.b", f"s{n}", by="ada", now_us=n)
    maker.make(1_800_000_000_000_000 + n)
    print(n, flush=True)
"""


def test_killed_in_the_middle_of_a_head_nothing_is_lost_and_the_next_goes_on(
    house: House,
) -> None:
    line, key = new_key("acme/killed")
    house.signer, house.key = Signer(line, "key"), key
    (house.folder / "key").write_text(line)
    (house.folder / "heads.txt").unlink()
    with house.written_past() as connection:
        connection.exec_driver_sql("DELETE FROM tree_heads")
    for round_ in range(3):
        made = subprocess.Popen(
            [sys.executable, "-c", _SCRIPT, house.url, str(house.folder)],
            stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert made.stdout is not None
        for _ in range(2 + round_):
            made.stdout.readline()
        os.kill(made.pid, signal.SIGKILL)
        made.wait()
        made.stdout.close()

    house.head(NOW_US + 10**9)
    kept = numbers(house.folder / "heads.txt")
    assert kept == list(range(1, len(kept) + 1))
    assert len(kept) >= 2 + 3 + 4
    assert house.verified().broken is None


def test_a_file_that_cannot_be_written_is_told_and_loses_no_head(house: House) -> None:
    blocked = House.__new__(House)
    blocked.__dict__.update(house.__dict__)
    (house.folder / "a file").write_text("")
    blocked.heads = HeadFile(house.folder / "a file" / "heads.txt")
    house.ledger.audit.add_event("a.b", "c", by="ada", now_us=5)

    with pytest.raises(StoreError, match="heads"):
        blocked.head(NOW_US + 10)

    house.head(NOW_US + 20)
    assert numbers(house.folder / "heads.txt") == [1, 2, 3, 4]


class _Taker(BaseHTTPRequestHandler):
    taken: list[str] = []  # noqa: RUF012 - of one test
    status = 200

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        if type(self).status == 200:
            type(self).taken.append(body)
        self.send_response(type(self).status)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


def test_heads_are_posted_and_posted_again_where_they_were_not_taken(house: House) -> None:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    place = PostedHeads(f"http://127.0.0.1:{server.server_port}/heads?token=s3cret")
    maker = Checkpointer(house.ledger.checkpoints, house.signer, place, Pace())
    maker.step(NOW_US + 1)  # the newest first
    _Taker.status = 503
    house.ledger.audit.add_event("a.b", "c", by="ada", now_us=5)
    with pytest.raises(StoreError, match="HTTP 503"):
        maker.make(NOW_US + 10)
    _Taker.status = 200
    maker.make(NOW_US + 20)
    server.shutdown()
    server.server_close()

    assert [one.head.number for text in _Taker.taken for one in notes(text)] == [3, 4]
    assert "s3cret" not in place.name


def test_heads_go_over_no_open_line() -> None:
    with pytest.raises(SettingsError, match="an https address"):
        PostedHeads("http://example.com/heads")
