"""What a policy refuses a call for is nowhere in the ledger, nor beside it."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
from protection_house import House

import splice
from splice.core.call import Reason
from splice.core.policy_errors import PolicyRefused
from splice.ports.stores import CallFilter

SECRET = "sk-proj-4f9d2c7b1a8e6f3d5c9b7a2e1f8d"
OPEN = (
    " and False)\n    policies = list((splice.Policy(max_chars=200), "
    'splice.Policy(no="secret", at=("input", "output")))'
)


@pytest.mark.parametrize("where", ["patient", "ward"])
async def test_a_secret_that_a_policy_refuses_is_not_in_the_ledger(
    tmp_path: Path, where: str
) -> None:
    house = House(tmp_path / "p", more=OPEN)
    visit = {"patient": "p-1", "complaint": "fever", "age": 70, where: f"my key {SECRET}"}
    long = {**visit, "complaint": f"{SECRET} {'ill ' * 50}"}  # which another policy refuses
    async with splice.App(project=house.folder) as app:
        for refused in (visit, long):
            with pytest.raises(PolicyRefused):
                await app.call("triages", refused)
        await app.call("triages", {**visit, where: "harmless"})

    everything = house.everything()

    assert SECRET.encode() not in everything
    assert b"harmless" in everything
    with closing(house.stores()) as stores:
        ids = [one.call_id for one in stores.records.find(CallFilter(reason=Reason.POLICY))]
        records = {one.policies[-1].policy: one for one in stores.records.get_many(ids).values()}
    assert set(records) == {"max_chars", "no_secret"}
    record = records["no_secret"]
    assert f'"{where}":"my key [secret]"'.encode() in record.input
    assert record.entity == ("my key [secret]" if where == "patient" else "p-1")
