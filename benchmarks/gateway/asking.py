"""The mock provider while it runs, and how it or a gateway before it is asked."""

from __future__ import annotations

import http.client
import json
import shutil
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from gateway.chat import request_body
from gateway.replies import STREAM_TEXT, WrongReplyError, check_stream, check_whole
from gateway.subject import HERE, Command, free_port, own_python
from load import Target, write_lines
from processes import on_core

PATH = "/v1/chat/completions"
START_SECONDS = 90.0
LOG = "server.log"


class NotUpError(RuntimeError):
    """A server did not come to answer."""


@dataclass(frozen=True)
class Provider:
    """The mock provider."""

    port: int

    @property
    def url(self) -> str:
        """Its address, as a provider's base URL is given."""
        return f"http://127.0.0.1:{self.port}/v1"

    def asked(self, *, stream: bool) -> int:
        """How many whole or streamed replies it has begun."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request("GET", "/asked")
            told: dict[str, int] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        return told["streamed" if stream else "whole"]


@dataclass(frozen=True)
class Asking:
    """How one subject is asked: where, for which model, with which headers."""

    url: str
    model: str
    headers: Mapping[str, str]

    def once(self, *, stream: bool) -> None:
        """Ask once, and check the reply in full.

        Raises:
            WrongReplyError: It is not what the provider said.
        """
        there = urlsplit(self.url)
        connection = http.client.HTTPConnection(there.netloc, timeout=30)
        try:
            body = request_body(self.model, stream=stream)
            connection.request("POST", there.path, body, self._headers)
            response = connection.getresponse()
            reply = response.read()
        except http.client.HTTPException as error:
            raise WrongReplyError(f"{self.url}: {type(error).__name__} {error}") from error
        finally:
            connection.close()
        if response.status != 200:
            raise WrongReplyError(f"{self.url}: {response.status} {reply[:500]!r}")
        (check_stream if stream else check_whole)(reply)

    def target(self, place: Path, *, stream: bool) -> Target:
        """The same for the load, with files in `place`.

        Every streamed reply must have all its pieces; a whole one has a length to go by.
        """
        bodies, expected = place / f"bodies-{stream}.txt", place / "expected.txt"
        write_lines(bodies, [request_body(self.model, stream=stream)])
        if stream:
            ends = [piece.encode() for piece in STREAM_TEXT] + [b"data: [DONE]"]
            write_lines(expected, ends)
        return Target(self.url, bodies, self._headers, expected if stream else None)

    @property
    def _headers(self) -> dict[str, str]:
        return {"Content-Type": "application/json", **self.headers}


@contextmanager
def provider(cache: Path, core: str, together: int) -> Generator[Provider]:
    """The mock provider on a core, from when it answers to its end.

    `together` is how many events of a stream it sends at once.
    """
    place = cache / "places" / "gateway-provider"
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True)
    mock = Provider(free_port())
    argv = [str(own_python()), str(HERE / "upstream.py"), str(mock.port), str(together)]
    with on_core(core, argv, place, {}, LOG) as server:
        _wait(lambda: mock.asked(stream=False) == 0, server.poll, place / LOG)
        yield mock


@contextmanager
def serving(command: Command, port: int, core: str) -> Generator[tuple[int, Asking]]:
    """A gateway's server on a core, from when it answers to its end: its process, how to ask it."""
    with on_core(core, command.argv, command.cwd, command.env, LOG) as server:
        base: str | None = None

        def answers() -> bool:
            nonlocal base
            base = command.address() if command.address else f"http://127.0.0.1:{port}"
            if base is None:
                return False
            Asking(base + PATH, command.model, command.headers).once(stream=False)
            return True

        _wait(answers, server.poll, command.cwd / LOG)
        yield server.pid, Asking(f"{base}{PATH}", command.model, command.headers)


def _wait(answers: Callable[[], bool], ended: Callable[[], int | None], log: Path) -> None:
    """Return once `answers` says so.

    Raises:
        NotUpError: The server ended, or did not come to answer; with the end of its log.
    """
    last: object = "nothing"
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and ended() is None:
        try:
            if answers():
                return
        except (OSError, WrongReplyError) as error:
            last = error  # it may listen before it can answer
        time.sleep(0.1)
    raise NotUpError(f"the server did not come to answer (last: {last}): {log.read_text()[-2000:]}")
