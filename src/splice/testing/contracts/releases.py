"""What every ReleaseStore must hold to.

Inherit `ReleaseStoreContract` and give it a fixture `releases`: a store that is empty.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from splice.core.errors import Overtaken, StoreError
from splice.core.release import Bundle, Live, Manifest, PinnedRoute, Release
from splice.ports.stores import LiveChange, ReleaseStore

NOW_US = 1_793_880_000_000_000


def manifest(integration: str = "credit", purpose: str = "Lend.") -> Manifest:
    """A manifest with something in every field."""
    route = PinnedRoute(
        label="model:credit", kind="model", position=0, timeout_s=0.1, version="credit@3",
        model="credit", model_version=3, sha256="ab" * 32, features=("age", "Größe"),
        params={"temperature": 0.0, "stop": ["\n"]},
    )  # fmt: skip
    return Manifest(
        integration=integration, entry="credit:Credit", bundle="cd" * 32, purpose=purpose,
        risk="high", deadline_s=0.25, routes=(route,), request_schema={"type": "object"},
        reply_schema={"type": "object", "required": ["action"]}, objective={"kpi": "losses"},
    )  # fmt: skip


def add(store: ReleaseStore, of: Manifest, *, at_us: int = NOW_US, go_live: bool = True) -> Release:
    """A release made by a test."""
    return store.add_release(of, by="anna", why="test", now_us=at_us, go_live=go_live)


class ReleaseStoreContract:
    """Releases are numbered and unchanging; one of them is live."""

    def test_a_bundle_is_read_back_by_its_hash(self, releases: ReleaseStore) -> None:
        bundle = Bundle("credit", {"credit.py": "x = 'é\0'\n", "prompts/a.txt": "Hello\r\n"})

        first, again = releases.put_bundle(bundle), releases.put_bundle(bundle)

        assert first == again == bundle.sha256
        assert releases.bundle(first) == bundle

    def test_a_bundle_that_is_not_stored_is_an_error(self, releases: ReleaseStore) -> None:
        with pytest.raises(StoreError, match="no bundle"):
            releases.bundle("ef" * 32)

    def test_releases_are_numbered_by_integration(self, releases: ReleaseStore) -> None:
        first = add(releases, manifest(purpose="One."))
        other = add(releases, manifest("triage"))
        second = add(releases, manifest(purpose="Two."), at_us=NOW_US + 1)

        assert (first.number, other.number, second.number) == (1, 1, 2)
        assert releases.releases("credit") == [second, first]
        assert releases.release("credit", 1) == first
        pinned = manifest(purpose="Two.")
        assert second == Release(2, pinned, NOW_US + 1, "anna", "test", pinned.digest)

    def test_what_is_not_there_is_none(self, releases: ReleaseStore) -> None:
        assert releases.release("credit", 1) is None
        assert releases.releases("credit") == []
        assert releases.live() == []

    def test_a_new_release_is_live_only_if_asked(self, releases: ReleaseStore) -> None:
        add(releases, manifest(), go_live=False)
        before = releases.live()
        add(releases, manifest())
        add(releases, manifest(), go_live=False)

        assert before == []
        assert [(live.integration, live.number) for live in releases.live()] == [("credit", 2)]

    def test_going_back_names_an_older_release(self, releases: ReleaseStore) -> None:
        add(releases, manifest())
        add(releases, manifest())

        live = releases.go_live("credit", 1, by="anna", why="worse", now_us=NOW_US)

        assert live.number == 1
        assert releases.live() == [live]

    def test_only_a_stored_release_goes_live(self, releases: ReleaseStore) -> None:
        add(releases, manifest())
        before = releases.live()

        with pytest.raises(StoreError, match="no release 2"):
            releases.go_live("credit", 2, by="anna", why="", now_us=NOW_US)

        assert releases.live() == before

    def test_the_generation_grows_with_every_change(self, releases: ReleaseStore) -> None:
        generations: list[int] = []

        def look() -> None:
            generations.append(releases.live()[0].generation)

        add(releases, manifest())
        look()
        add(releases, manifest())
        look()
        releases.set_stopped("credit", "wrong", by="anna", now_us=NOW_US)
        look()
        releases.set_stopped("credit", "", by="anna", now_us=NOW_US)
        look()
        releases.go_live("credit", 1, by="anna", why="", now_us=NOW_US)
        look()

        assert generations == sorted(set(generations))

    def test_a_stop_holds_until_it_is_lifted(self, releases: ReleaseStore) -> None:
        add(releases, manifest())

        stopped = releases.set_stopped("credit", "it is wrong", by="anna", now_us=NOW_US)
        add(releases, manifest())
        after = releases.go_live("credit", 1, by="anna", why="", now_us=NOW_US)
        again = releases.set_stopped("credit", "", by="anna", now_us=NOW_US)

        assert stopped == Live("credit", 1, 2, "it is wrong")
        assert after.stopped == "it is wrong"
        assert again.stopped == ""
        assert releases.live() == [again]

    def test_what_has_no_release_cannot_be_stopped(self, releases: ReleaseStore) -> None:
        with pytest.raises(StoreError, match="no live release"):
            releases.set_stopped("credit", "why", by="anna", now_us=NOW_US)

    def test_many_at_once_get_different_numbers(self, releases: ReleaseStore) -> None:
        several = [manifest(purpose=str(n)) for n in range(24)]

        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(add, [releases] * 24, several))

        assert sorted(release.number for release in made) == list(range(1, 25))
        assert {r.number: r for r in releases.releases("credit")} == {r.number: r for r in made}
        assert releases.live()[0].generation == 24

    def test_a_release_that_is_live_again_knows_since_when(self, releases: ReleaseStore) -> None:
        add(releases, manifest(purpose="One."))
        add(releases, manifest(purpose="Two."))
        assert releases.live_again_us("credit") == 0
        assert releases.live_again_us("nobody") == 0

        releases.go_live("credit", 1, by="anna", why="", now_us=NOW_US + 50)

        assert releases.live_again_us("credit") == NOW_US + 50

    def test_a_change_made_for_another_release_is_refused(self, releases: ReleaseStore) -> None:
        add(releases, manifest(purpose="One."))
        add(releases, manifest(purpose="Two."))
        stale = LiveChange("rollout.stop", 1)

        with pytest.raises(Overtaken, match="release 2, which is live now"):
            releases.go_live("credit", 1, by="bob", why="", now_us=NOW_US, change=stale)
        with pytest.raises(Overtaken):
            releases.add_release(
                manifest(purpose="Three."), by="bob", why="", now_us=NOW_US, change=stale
            )

        assert [one.number for one in releases.releases("credit")] == [2, 1]
        assert releases.live()[0].number == 2
