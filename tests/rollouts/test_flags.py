"""Flags of a provider that someone else wrote choose the variant: flagd, from a file."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from openfeature.flag_evaluation import FlagResolutionDetails
from openfeature.provider import AbstractProvider, Metadata
from rollout_house import House, ask, live_release, until

from splice.adapters.flags.openfeature import OpenFeatureFlags
from splice.core.errors import SettingsError
from splice.testing.contracts.flags import FlagsContract

FLAGD = "openfeature.contrib.provider.flagd:FlagdProvider"


def flag_file(folder: Path, targeting: dict[str, Any] | None, default: str) -> Path:
    """A file of flags as flagd reads it."""
    variants = {one: one for one in ("champion", "challenger", "off", "strange")}
    flag: dict[str, Any] = {"state": "ENABLED", "variants": variants, "defaultVariant": default}
    if targeting is not None:
        flag["targeting"] = targeting
    file = folder / "flags.json"
    file.write_text(json.dumps({"flags": {"orders-model": flag}}))
    return file


STARTS_WITH_VIP = {
    "if": [{"starts_with": [{"var": "targetingKey"}, "vip-"]}, "challenger", "champion"]
}


@pytest.fixture
async def flags(tmp_path: Path) -> AsyncIterator[OpenFeatureFlags]:
    file = flag_file(tmp_path, STARTS_WITH_VIP, "champion")
    options = {"resolver_type": "file", "offline_flag_source_path": str(file)}
    made = OpenFeatureFlags(FLAGD, options, 10.0)
    yield made
    await made.close()


class TestFlagd(FlagsContract):
    pass


class Rough(AbstractProvider):
    """A provider that raises, or hangs until it is let go."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how
        self.let_go = threading.Event()

    def get_metadata(self) -> Metadata:
        return Metadata("rough")

    def initialize(self, evaluation_context: Any) -> None:
        if self.how == "does not start":
            raise ConnectionError("away")

    def shutdown(self) -> None:
        self.let_go.set()
        if self.how == "raises":
            raise ValueError("no")

    def _said(self) -> FlagResolutionDetails[Any]:
        if self.how == "raises":
            raise RuntimeError("secret-canary")
        self.let_go.wait(20)
        return FlagResolutionDetails("challenger")

    def resolve_string_details(self, *_: Any) -> FlagResolutionDetails[Any]:
        return self._said()

    resolve_boolean_details = resolve_string_details
    resolve_integer_details = resolve_string_details
    resolve_float_details = resolve_string_details
    resolve_object_details = resolve_string_details


@pytest.mark.parametrize("how", ["raises", "hangs", "does not start"])
async def test_a_provider_that_fails_says_nothing_and_holds_nobody(how: str) -> None:
    flags = OpenFeatureFlags("test_flags:Rough", {"how": how}, 0.05)

    said = await asyncio.gather(*(flags.variant("f", f"c-{n}", {}) for n in range(200)))

    assert set(said) == {None}
    assert flags.trouble
    assert "canary" not in flags.trouble
    await flags.close()


@pytest.mark.parametrize(
    ("provider", "options", "where"),
    [
        ("no.such.module:Class", {}, "flags.provider"),
        ("openfeature.provider:Nothing", {}, "flags.provider"),
        ("nonsense", {}, "flags.provider"),
        (FLAGD, {"colour": "red"}, "flags.options"),
        (FLAGD, {"resolver_type": "telepathy"}, "flags.options"),
    ],
)
def test_a_provider_that_cannot_be_made_is_one_clear_error(
    provider: str, options: dict[str, Any], where: str
) -> None:
    with pytest.raises(SettingsError) as raised:
        OpenFeatureFlags(provider, options, 1.0)

    assert raised.value.where == where


def test_a_server_follows_the_flag_and_says_where_it_says_nothing(command, tmp_path: Path) -> None:
    file = flag_file(tmp_path, STARTS_WITH_VIP, "champion")
    toml = (
        f'[flags]\nprovider = "{FLAGD}"\ntimeout_ms = 10000\n[flags.options]\n'
        f'resolver_type = "file"\noffline_flag_source_path = "{file}"\n'
    )
    rollout = (
        'rollout = splice.Rollout(challenger=splice.Model("orders@challenger"), '
        'flag="orders-model")'
    )
    house = House(command, rollout, toml)
    with house.serve() as server:
        one = server.connection()
        got = {name: ask(one, name)["version"] for name in ("vip-1", "c-1", "vip-2", "c-2")}
        flag_file(tmp_path, None, "strange")
        until(lambda: ask(one, "vip-1")["version"] == "orders@1", "the new flags are read")
        strange = ask(one, "vip-3")
        one.close()
        assert live_release(server) == 1
        server.stop()

    assert got == {"vip-1": "orders@2", "c-1": "orders@1", "vip-2": "orders@2", "c-2": "orders@1"}
    shown = json.loads(house.ran("calls", "show", strange["call_id"]))
    assert shown["notes"] == ["flag orders-model named 'strange', which is no variant"]
