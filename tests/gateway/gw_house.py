"""A gateway as users run it: `splice serve` of a small project, its upstreams, and its ledger."""

from __future__ import annotations

import contextlib
import json
import re
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import anthropic
import openai

from splice.adapters.ledgers.sql import open_ledger
from splice.control.keys import KeyRequest, Keys
from splice.core.call import Record
from splice.core.errors import StoreError
from splice.ports.stores import CallFilter
from splice.testing.project import Answer, Project, Server

T = TypeVar("T")

HELLO: list[Any] = [{"role": "user", "content": "hello there"}]
READ_NANO, WRITE_NANO = 1_000_000, 2_000_000  # a token of the model `m`, by `provider()`
CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"

BASE = """
[project]
apply = "new"
[server]
body_seconds = 1.0
drain_seconds = 5.0
[ledger]
flush_interval_ms = 1
[cost]
currency = "EUR"
"""


def provider(name: str, base_url: str, *lines: str, kind: str = "openai", key: str = "") -> str:
    """The section of one provider, whose model `m` has a price."""
    named = f'api_key_env = "{key}"\n' if key else ""
    more = "".join(f"{line}\n" for line in lines)
    return f"""
[providers.{name}]
kind = "{kind}"
base_url = "{base_url}"
{named}{more}
[providers.{name}.prices.m]
input = 1000.0
output = 2000.0
"""


class Gateway:
    """A project and the server that runs it."""

    def __init__(
        self, project: Project, server: Server, pepper: bytes = b"", workers: int = 1
    ) -> None:
        self.project = project
        self.server = server
        self._pepper = pepper
        self._workers = workers
        self._shared: dict[str, str] = {}
        self._clients: dict[tuple[str, str], Any] = {}
        folder = project.folder / ".splice"
        self.stores = open_ledger(f"sqlite:///{folder / 'ledger.db'}", folder / "models")

    @property
    def url(self) -> str:
        return self.server.url

    def openai(self, key: str = "none") -> openai.OpenAI:
        """OpenAI's own client, which does not try again by itself."""
        made = self._clients.get(("openai", key))
        if made is None:
            made = openai.OpenAI(base_url=f"{self.url}/v1", api_key=key, max_retries=0)
            self._clients["openai", key] = made
        return made

    def anthropic(self, key: str = "none") -> anthropic.Anthropic:
        """Anthropic's own client, which does not try again by itself."""
        made = self._clients.get(("anthropic", key))
        if made is None:
            made = anthropic.Anthropic(base_url=self.url, api_key=key, max_retries=0)
            self._clients["anthropic", key] = made
        return made

    def close(self) -> None:
        for client in self._clients.values():
            client.close()
        self.stores.close()

    def ask(self, body: Any = None, path: str = CHAT, key: str = "", **headers: str) -> Answer:
        """A POST to the gateway; `model` is `talk` where the body does not say."""
        if key:
            headers["authorization"] = f"Bearer {key}"
        if not isinstance(body, bytes):
            body = {"model": "talk", "messages": HELLO, **(body or {})}
        return self.server.post(path, body, **headers)

    def in_flight(self) -> int:
        """The metric of all workers together."""
        found = re.search(r"^splice_calls_in_flight (\S+)$", self.metrics(), re.MULTILINE)
        assert found is not None
        return int(float(found[1]))

    def rest(self) -> None:
        """Return once nothing is in flight; fails where that never comes."""
        eventually(lambda: self.in_flight() == 0)

    def metrics(self) -> str:
        return self.server.get("/metrics").body.decode()

    def all_records(self, integration: str | None = None, key: str = "") -> list[Record]:
        """What is recorded now, whole, newest first; of one key where its token is given."""
        found = self.stores.records.find(CallFilter(integration=integration, limit=100_000))
        whole = self.stores.records.get_many([one.call_id for one in found])
        caller = f"key:{key.split('-')[2]}" if key else ""
        every = [whole[one.call_id] for one in found]
        return [one for one in every if not caller or one.caller == caller]

    def records(
        self, count: int = 1, integration: str | None = None, key: str = ""
    ) -> list[Record]:
        """The same, once there are so many."""

        def enough() -> list[Record] | None:
            found = self.all_records(integration, key)
            return found if len(found) >= count else None

        return eventually(enough)

    def record(self, call_id: str) -> Record:
        """One call, once it is recorded."""
        return eventually(lambda: self.stores.records.get(call_id))

    def key(self, name: str = "k", budgets: Sequence[str] = (), **may: Any) -> tuple[str, str]:
        """A new key: its id and its token."""
        keys = Keys(self.stores.keys, pepper=self._pepper, currency="EUR")
        asked = KeyRequest(name=name, budgets=tuple(budgets), **may)
        issued = keys.create(asked, by="test", now_us=time.time_ns() // 1000)
        return issued.key.id, issued.token

    def known_key(self, *args: Any, **may: Any) -> tuple[str, str]:
        """A new key that every worker knows already."""
        key_id, token = self.key(*args, **may)
        if self._workers > 1:
            self.takes_hold()

        def status(shown: str) -> int:
            return self.server.ask("GET", "/v1/models", authorization=f"Bearer {shown}").status

        # Before the first key is known, everybody may ask, and any key seems good.
        eventually(lambda: status("none") == 401 and status(token) == 200)
        return key_id, token

    def shared_key(self, name: str, budgets: Sequence[str] = (), **may: Any) -> str:
        """The token of a key that several tests use."""
        if name not in self._shared:
            self._shared[name] = self.known_key(name, budgets, **may)[1]
        return self._shared[name]

    def share_keys(self, **named: dict[str, Any]) -> None:
        """Makes keys that several tests use, and waits for all of them at once."""
        for name, may in named.items():
            self._shared[name] = self.key(name, **may)[1]
        self.takes_hold()

    def takes_hold(self) -> None:
        """Return once every worker has looked into the ledger: each does twice a second."""
        time.sleep(1.0)


@contextlib.contextmanager
def serving(
    folder: Path, toml: str, declared: str, *, workers: int = 1, pepper: str = "", **env: str
) -> Iterator[Gateway]:
    """A running gateway in a folder of its own."""
    project = Project(folder / "p", toml)
    project.declare(declared)
    with project.serve(workers=workers, env=env) as server:
        gateway = Gateway(project, server, pepper.encode(), workers)
        try:
            yield gateway
        finally:
            gateway.close()


def eventually(look: Callable[[], T | None], seconds: float = 15.0) -> T:
    """What `look` gives once it gives something; the bound is for a loaded machine."""
    end = time.monotonic() + seconds
    while True:
        with contextlib.suppress(StoreError):  # locked for a moment
            if found := look():
                return found
        if time.monotonic() > end:
            raise AssertionError(f"it never came: {look}")
        time.sleep(0.02)


def raw_request(
    body: bytes | Mapping[str, Any],
    path: str = CHAT,
    *headers: str,
    version: str = "1.1",
    length: int | None = None,
) -> bytes:
    """The bytes of a POST."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    size = len(raw) if length is None else length
    more = "".join(f"{one}\r\n" for one in headers)
    head = (
        f"POST {path} HTTP/{version}\r\nhost: test\r\ncontent-type: application/json\r\n"
        f"{more}content-length: {size}\r\n\r\n"
    )
    return head.encode("latin-1") + raw


def read_response(one: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """One whole response; of a stream all of its events."""
    raw = _until(one, b"", b"\r\n\r\n")
    head, _, rest = raw.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
    if headers.get("transfer-encoding") == "chunked":
        raw = _until(one, rest, b"0\r\n\r\n")
        body = b""
        while not raw.startswith(b"0\r\n"):
            size, _, raw = raw.partition(b"\r\n")
            body += raw[: int(size, 16)]
            raw = raw[int(size, 16) + 2 :]
        return int(status.split()[1]), headers, body
    length = int(headers.get("content-length", 0))
    while len(rest) < length:
        rest += _piece(one)
    return int(status.split()[1]), headers, rest[:length]


def events_of(body: bytes) -> list[dict[str, Any]]:
    """The JSON of all events of a stream."""
    lines = body.decode().splitlines()
    told = [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]
    return [json.loads(one) for one in told if one != "[DONE]"]


def _until(one: socket.socket, raw: bytes, mark: bytes) -> bytes:
    while mark not in raw:
        raw += _piece(one)
    return raw


def _piece(one: socket.socket) -> bytes:
    piece = one.recv(65536)
    if not piece:
        raise EOFError
    return piece
