"""What a process does at its start, seen in one of its own."""

from __future__ import annotations

import subprocess
import sys

STRETCHES = """
import sys
from splice.app.process import work_in_stretches
work_in_stretches()
work_in_stretches()
print(sys.getswitchinterval())
blocks = [bytes(100_000) for _ in range(200)]
del blocks
def pages():
    import resource
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = pages()
for _ in range(50):
    blocks = [bytes(100_000) for _ in range(200)]
    del blocks
print(pages() - before)
"""
KEPT = """
import sqlite3, sys
class Told(Exception): ...
def own(value):
    raise Told
if "own" in sys.argv:
    sqlite3.register_adapter(bytes, own)
import splice.adapters.ledgers.sqlite
database = sqlite3.connect(":memory:")
try:
    query = "SELECT ?, ?, typeof(?), typeof(?)"
    print(database.execute(query, (b"a", None, b"a", None)).fetchone())
except Exception as error:
    print(type(error).__name__)
"""


def said(code: str, *arguments: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_a_process_of_batches_changes_threads_less_often_and_keeps_its_memory() -> None:
    interval, taken_again = said(STRETCHES)

    assert float(interval) == 0.02
    if sys.platform == "linux":  # 50 times 20 MB would be 250,000 pages
        assert int(taken_again) < 50_000


def test_sqlite_gets_bytes_and_none_as_they_are_and_who_has_adapters_keeps_them() -> None:
    assert said(KEPT) == ["(b'a', None, 'blob', 'null')"]
    assert said(KEPT, "own") == ["Told"]
