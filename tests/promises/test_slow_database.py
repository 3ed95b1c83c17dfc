"""A database that is silent or gone: high risk is refused, low risk answered, nothing lost."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest
from promise_house import GOOD, HIGH, INTEGRATIONS, LOW, TOML, Mode, postgres_behind, until

from splice.testing.project import Project

pytestmark = pytest.mark.postgres


@pytest.mark.parametrize("mode", ["stall", "refuse"])
def test_a_database_that_goes_silent_or_away_costs_no_answer_that_was_given(
    tmp_path: Path, postgres_database: str, mode: Mode
) -> None:
    with postgres_behind(postgres_database) as (proxy, url):
        project = Project(tmp_path / "p", TOML.replace("[ledger]", f'[ledger]\nurl = "{url}"'))
        project.declare(INTEGRATIONS)
        with project.serve() as server:
            before = [server.post(HIGH, GOOD) for _ in range(5)]
            proxy.set(mode)
            refused = [server.post(HIGH, GOOD) for _ in range(1)]
            low = [server.post(LOW, GOOD) for _ in range(20)]
            alive = server.get("/healthz").status
            proxy.set("pass")
            until(lambda: server.post(HIGH, GOOD).status == 200)
            known = {one.json["call_id"]: one.status == 200 for one in (*before, *refused, *low)}

            def stored() -> dict[str, str]:
                with psycopg.connect(postgres_database) as connection:
                    found = connection.execute("SELECT id FROM calls").fetchall()
                ids = [row[0] for row in found]
                assert len(ids) == len(set(ids))  # none twice
                shown = {one: server.get(f"/v1/calls/{one}") for one in known}
                return {one: answer.json["status"] for one, answer in shown.items()
                        if answer.status == 200}  # fmt: skip

            until(lambda: len(stored()) == len(known))
            found = stored()

    assert {one.status for one in before} == {200}
    assert {(one.status, one.json["code"]) for one in refused} == {(503, "not_recorded")}
    assert {one.status for one in low} == {200}
    assert alive == 200
    for call_id, was_answered in known.items():
        # A commit of which nobody heard may have happened: no answer was given all the same.
        wanted = {"answered"} if was_answered else {"refused", "answered"}
        assert found[call_id] in wanted
