"""The statements of queued.py: what a state means is told there."""

from __future__ import annotations

# `when_us` of a free row is 0. It is asked for so, and sorted by, that PostgreSQL takes the index
# by state: by stale statistics it would rather go through all rows by their numbers.
_FREE = "queue = :queue AND state = 0 AND when_us < 1"
_EXPIRED = "queue = :queue AND state = 1 AND when_us <= :now"
_DUE = "queue = :queue AND state = 2 AND when_us <= :now"


def _any(rows: str) -> str:
    return f"EXISTS (SELECT 1 FROM queued WHERE {rows} ORDER BY when_us LIMIT 1)"  # noqa: S608


LOOK = f"SELECT {_any(_FREE)}, {_any(_EXPIRED)}, {_any(_DUE)}"
WAKE = f"""
UPDATE queued SET state = 0, when_us = 0 WHERE number IN (
    SELECT number FROM queued WHERE {_DUE} ORDER BY when_us LIMIT :limit)
"""  # noqa: S608
SUSPECT = f"""
SELECT number FROM queued s WHERE {_EXPIRED}
AND NOT EXISTS (SELECT 1 FROM queued e WHERE e.held = s.held AND e.number < s.number)
ORDER BY when_us, number LIMIT 1
"""  # noqa: S608
FENCE = """
UPDATE queued SET token = token + 1, when_us = :now WHERE state = 1 AND number > :number
AND held = (SELECT held FROM queued WHERE number = :number)
"""
EXPIRED = f"SELECT number FROM queued WHERE {_EXPIRED} ORDER BY when_us LIMIT :limit"  # noqa: S608

# `behind`: a row before it in its lane is in the way.
FREE_ROWS = f"""
SELECT number, size, EXISTS (
    SELECT 1 FROM queued w WHERE w.held = f.lane AND w.number < f.number AND (
        w.state IN (2, 3) OR w.state = 1 AND (w.holder <> :holder OR w.when_us <= :now))
) AS behind
FROM queued f WHERE {_FREE} AND number > :after ORDER BY when_us, number LIMIT :limit
"""  # noqa: S608
PARK = """
UPDATE queued SET state = 3, held = lane WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
_LEASE = """
UPDATE queued SET state = 1, when_us = :until, held = lane, holder = :holder,
    attempts = attempts + 1, token = token + 1
"""
LEASE = f"{_LEASE} WHERE number IN (SELECT n.value FROM each(:numbers) n)"  # noqa: S608
# What is free, where there is nothing else to be done and it is not too much for one take.
TAKE = f"""
WITH found AS MATERIALIZED ({FREE_ROWS}) {_LEASE}
WHERE number IN (SELECT number FROM found WHERE NOT behind)
AND (SELECT sum(size) FROM found) <= :most AND NOT {_any(_EXPIRED)} AND NOT {_any(_DUE)}
"""  # noqa: S608
_ROWS = """
SELECT q.number, q.queue, q.attempts, q.token, q.due_us, q.why, q.state, b.body
FROM queued q JOIN queued_bodies b ON b.number = q.number
"""
READ = f"{_ROWS} WHERE q.number IN (SELECT n.value FROM each(:numbers) n)"  # noqa: S608
TAKEN = f"""
{_ROWS} WHERE q.queue = :queue AND q.state = 1 AND q.when_us = :until AND q.holder = :holder
"""
HELD = """
SELECT number, queue, state, token, lane FROM queued
WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
# How many of them are leased by a token, and whether anything of their queue is put behind.
LEASED = """
SELECT count(*), EXISTS (SELECT 1 FROM queued WHERE queue = :queue AND state = 3)
FROM queued WHERE number IN (SELECT n.value FROM each(:numbers) n)
AND queue = :queue AND state = 1 AND token = :token
"""
EXTEND = """
UPDATE queued SET when_us = :until WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
FREED = """
UPDATE queued SET state = CASE WHEN CAST(:due AS BIGINT) > 0 THEN 2 ELSE 0 END,
    when_us = :due, due_us = :due, attempts = attempts - :untried
WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
GIVE_UP = """
UPDATE queued SET state = 4, held = NULL, when_us = 0, due_us = 0
WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
RENEW = """
UPDATE queued SET state = 0, held = lane, when_us = 0, due_us = :now, attempts = 0
WHERE number IN (SELECT n.value FROM each(:numbers) n)
"""
DELETES = tuple(
    f"DELETE FROM {table} WHERE number IN (SELECT n.value FROM each(:numbers) n)"  # noqa: S608
    for table in ("queued", "queued_bodies")
)
EXPLAIN = "UPDATE queued SET why = :why WHERE number = :number"
# Lanes in which rows are put behind, and nothing is left for which they wait.
OPEN = """
SELECT l.value FROM each(:lanes) l WHERE 3 = (
    SELECT q.state FROM queued q WHERE q.held = l.value AND q.state > 0
    ORDER BY q.number LIMIT 1)
"""
UNPARK = """
UPDATE queued SET state = 0 WHERE number IN (
    SELECT q.number FROM each(:lanes) l JOIN queued q ON q.held = l.value
    WHERE q.state = 3 AND q.number <= coalesce((
        SELECT m.number FROM queued m WHERE m.held = l.value AND m.state = 3
        ORDER BY m.number LIMIT 1 OFFSET 255), 9223372036854775807))
"""
