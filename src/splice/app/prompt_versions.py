"""Prompt versions: which releases pin which, and how one is named: a file, or `PATH@RELEASE`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from splice.app import wiring
from splice.app.settings import Settings
from splice.core.errors import DeclarationError, RequestError, UnknownIntegration, UnknownRelease
from splice.core.release import PinnedRoute, Release
from splice.declare.prompts import Prompt, parse_prompt
from splice.ports.stores import ReleaseStore


class UnknownPrompt(RequestError):
    """No file and no release holds the prompt that was named, or several different ones do."""

    code = "unknown_prompt"


class PinnedPrompt(msgspec.Struct, frozen=True):
    """A prompt as a release pins it."""

    integration: str
    release: int
    live: bool
    route: str
    path: str
    sha256: str

    @property
    def version(self) -> str:
        """The first twelve characters of the hash of its text."""
        return self.sha256[:12]


def pinned_prompts(releases: ReleaseStore, integration: str | None = None) -> list[PinnedPrompt]:
    """Every prompt of every release, newest release first.

    Raises:
        UnknownIntegration: The integration named has no release.
    """
    live = {one.integration: one.number for one in releases.live()}
    if integration is not None and integration not in live:
        raise UnknownIntegration(
            integration[:80], got="no release of that name",
            promised=f"one of {', '.join(sorted(live)) or 'none yet'}",
        )  # fmt: skip
    return [
        PinnedPrompt(
            name, release.number, live[name] == release.number, route.label, route.prompt,
            route.prompt_sha256,
        )
        for name in ([integration] if integration else sorted(live))
        for release in releases.releases(name)
        for route in release.manifest.routes
        if route.prompt
    ]  # fmt: skip


def release_of(releases: ReleaseStore, integration: str, number: int | None) -> Release:
    """A release; the live one where no number is given.

    Raises:
        UnknownIntegration: It has none.
        UnknownRelease: It has none of that number.
    """
    if number is None:
        live = {one.integration: one.number for one in releases.live()}
        if integration not in live:
            raise UnknownIntegration(
                integration[:80], got="no live release of that name",
                promised=f"one of {', '.join(sorted(live)) or 'none yet'}",
            )  # fmt: skip
        number = live[integration]
    found = releases.release(integration, number)
    if found is None:
        raise UnknownRelease(
            integration[:80], got=f"no release {number}",
            mend=f"splice release list {integration}",
        )  # fmt: skip
    return found


def prompt_routes(release: Release) -> Iterator[PinnedRoute]:
    """The routes of a release that have a prompt."""
    return (route for route in release.manifest.routes if route.prompt)


def prompt_of(releases: ReleaseStore, release: Release, path: str) -> Prompt:
    """A prompt as it was when the release was made.

    Raises:
        UnknownPrompt: The release has no prompt of that path.
        StoreError: Its bundle is gone.
    """
    text = releases.bundle(release.manifest.bundle).files.get(path)
    if text is None or path not in [route.prompt for route in prompt_routes(release)]:
        known = ", ".join(dict.fromkeys(route.prompt for route in prompt_routes(release)))
        raise UnknownPrompt(
            f"{release.integration} release {release.number}",
            got=f"no prompt {path[:80]}", promised=f"one of {known or 'none: it has no prompts'}",
        )  # fmt: skip
    return read_prompt(text, path)


def read_prompt(text: str, path: str) -> Prompt:
    """The prompt of an integration, or of a conversation where it is only one of those.

    Raises:
        DeclarationError: It is neither.
    """
    try:
        return parse_prompt(text, path)
    except DeclarationError as error:
        try:
            return parse_prompt(text, path, before=True)
        except DeclarationError:
            error.file = path
            raise error from None


def prompt_on_disk(settings: Settings, path: str) -> tuple[str, str]:
    """The text of a prompt file, and its path as a declaration would write it.

    A path is looked for in the working folder, then in the one that imports start from.

    Raises:
        UnknownPrompt: There is no such file, or it is not text.
    """
    root = settings.path(settings.project.source)
    for file in (Path(path), root / path):
        if not file.is_file():
            continue
        inside = file.resolve().is_relative_to(root)
        shown = file.resolve().relative_to(root).as_posix() if inside else str(path)
        try:
            return file.read_text("utf-8"), shown
        except (OSError, UnicodeDecodeError) as error:
            raise UnknownPrompt(path, got=str(error), promised="a text file in UTF-8") from None
    raise UnknownPrompt(
        path[:200], got="no such file", promised=f"a file here or below {root}",
        mend="splice prompts list names those of releases: PATH@RELEASE",
    )  # fmt: skip


def named_prompt(settings: Settings, stores: wiring.Stores, name: str) -> Prompt:
    """The prompt that a name means: `triage.md`, `triage.md@3`, `triage.md@tickets:3`, `…@live`.

    Raises:
        UnknownPrompt: There is none, or several integrations have different ones.
        DeclarationError: The file is no prompt.
    """
    path, at, which = name.rpartition("@")
    if not at:
        text, shown = prompt_on_disk(settings, name)
        return read_prompt(text, shown)
    integration, _, number = which.rpartition(":")
    if number != "live" and not number.isdecimal():
        raise UnknownPrompt(
            name[:200], got=f"@{which}", promised="@3, @live, or @INTEGRATION:3",
            mend="splice prompts list",
        )  # fmt: skip
    found = [
        one
        for one in pinned_prompts(stores.releases, integration or None)
        if one.path == path and (one.live if number == "live" else one.release == int(number))
    ]
    if len({one.sha256 for one in found}) != 1:
        several = ", ".join(f"{path}@{one.integration}:{one.release}" for one in found)
        raise UnknownPrompt(
            name[:200],
            got=f"several: {several}" if found else "no release with that prompt",
            promised="one prompt", mend="splice prompts list",
        )  # fmt: skip
    release = release_of(stores.releases, found[0].integration, found[0].release)
    return prompt_of(stores.releases, release, path)
