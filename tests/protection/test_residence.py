"""Texts go to no place outside of the declared regions: not by a route, not by a stream."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

import splice
from splice.app.residing import Residing
from splice.app.settings import load
from splice.app.wiring import Stores
from splice.core.errors import SettingsError
from splice.core.protection import PinnedProtection
from splice.core.residence import within
from splice.testing.openai_server import OpenAIServer, Scripted
from splice.testing.project import Project

DECLARED = '''
import splice


class Note(splice.Request):
    text: str


class Short(splice.Reply):
    words: str


class Shorts(splice.Integration):
    """Say it shorter."""

    protect = splice.Protect(regions=("eu",))
    routes = [
        splice.LLM("far/m", prompt="short.md"),
        splice.Rule(lambda context: {"words": "by rule"}),
    ]

    def decide(self, note: Note, prediction: splice.Prediction) -> Short:
        value = prediction.value
        return value if isinstance(value, Short) else Short(**value)


class Talk(splice.Conversation):
    """Talk to it."""

    risk = splice.Risk.HIGH
    protect = splice.Protect(regions=("eu",))
    routes = [splice.LLM("far/m"), splice.LLM("near/m")]
'''


def settings(far: str, near: str, *, region: str, more: str = "") -> str:
    return f"""
[project]
apply = "new"
[providers.far]
base_url = "{far}"
region = "{region}"
{more}
[providers.near]
base_url = "{near}"
region = "eu-north-1"
"""


def project(folder: Path, text: str) -> Project:
    made = Project(folder, text)
    made.declare(DECLARED)
    (folder / "short.md").write_text("## user\n{{text}}\n")
    return made


@pytest.mark.parametrize(
    ("region", "regions", "inside"),
    [
        ("eu", ("eu",), True),
        ("eu-central-1", ("eu",), True),
        ("eu-central-1", ("us", "eu-central-1"), True),
        ("europe", ("eu",), False),
        ("us-east-1", ("eu",), False),
        ("", ("eu",), False),
        ("", (), True),
        ("eu", ("eu-central-1",), False),
    ],
)
def test_a_place_is_inside_where_it_is_known_to_be(
    region: str, regions: tuple[str, ...], inside: bool
) -> None:
    assert within(region, regions) is inside


@pytest.mark.parametrize("region", ["", "us-east-1"])
async def test_a_route_that_leads_out_is_not_asked_and_its_call_says_so(
    region: str, tmp_path: Path
) -> None:
    with OpenAIServer() as far, OpenAIServer() as near:
        near.script(Scripted(text="near"))
        folder = tmp_path / "p"
        made = project(folder, settings(far.base_url, near.base_url, region="eu"))
        async with splice.App(project=folder) as app:
            assert {one.route.label for one in app.engine.line("shorts").steps}
        (folder / "splice.toml").write_text(
            settings(far.base_url, near.base_url, region=region).replace("new", "never")
        )

        async with splice.App(project=folder) as app:
            answered = await app.ask("shorts", {"text": "hello"})
        with made.serve() as server:
            talked = server.post(
                "/v1/chat/completions",
                {"model": "talk", "messages": [{"role": "user", "content": "hello"}]},
            )
        with closing(Stores(load(folder, {}))) as stores:
            record = stores.records.get(talked.headers["splice-call-id"])

    assert far.asked == []
    assert [one.ended for one in answered.record.attempts] == ["outside_region", "answered"]
    assert f"region {region or 'unknown'}, and" in answered.record.attempts[0].why
    assert json.loads(answered.record.reply or b"") == {"words": "by rule"}
    assert talked.status == 200
    assert record is not None
    assert [one.ended for one in record.attempts] == ["outside_region", "answered"]
    assert len(near.asked) == 1


async def test_of_several_deployments_those_inside_are_asked(tmp_path: Path) -> None:
    with OpenAIServer() as far, OpenAIServer() as near:
        near.script(*[Scripted(text='{"words":"near"}')] * 8)
        text = settings("", "http://127.0.0.1:1/v1", region="us").replace('base_url = ""', "")
        places = "".join(
            f'[[providers.far.deployments]]\nbase_url = "{url}"\nregion = "{region}"\n'
            for url, region in ((far.base_url, ""), (near.base_url, "eu-west-1"))
        )
        project(tmp_path / "p", text + places)

        async with splice.App(project=tmp_path / "p") as app:
            replies = [await app.call("shorts", {"text": f"n {i}"}) for i in range(8)]

    assert far.asked == []
    assert replies == [{"words": "near"}] * 8


def test_what_can_only_lead_out_is_refused_before_it_is_applied(tmp_path: Path) -> None:
    text = settings("http://127.0.0.1:1/v1", "http://127.0.0.1:1/v1", region="us-east-1")
    made = project(tmp_path / "p", text + '[consume.shorts]\ntargets = ["https://crm.example/"]\n')

    ran = made.run("check")

    assert ran.returncode != 0
    assert "a route to far: region us-east-1, and texts may go to eu only" in ran.stderr
    assert "https://crm.example/: region unknown" in ran.stderr


def test_streams_that_lead_out_are_not_opened(tmp_path: Path) -> None:
    (tmp_path / "splice.toml").write_text(
        """
[kafka]
servers = "localhost:1"
region = "eu-central-1"
[consume.inside]
source = "kafka:notes"
targets = ["queue:next", "table:shorts", "https://crm.example/eu/notes"]
[consume.outside]
targets = ["https://crm.example/us"]
[webhooks.crm]
url = "https://crm.example/"
[webhooks.crm_eu]
url = "https://crm.example/eu/"
region = "eu"
"""
    )
    residing = Residing(load(tmp_path, {}))
    inside = PinnedProtection(regions=("eu",))

    residing.check_streams("inside", inside)
    residing.check_streams("outside", None)
    with pytest.raises(SettingsError, match=r"https://crm\.example/us: region unknown"):
        residing.check_streams("outside", inside)
