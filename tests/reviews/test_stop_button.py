"""The stop button: on every worker within a second, under load, without the ledger, for good."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from reviews_house import CALLS, TOML, project, until

from splice.testing.project import Answer, Project, Server

PROMISED_S = 1.0
FORM = {"content_type": "application/x-www-form-urlencoded"}
STOP = "/console/integrations/claims/stop"
CLAIM = {"customer": "c-1", "amount": 10}


def press(server: Server, path: str, **fields: str) -> Answer:
    """Sends a form, as a page of the console does."""
    origin = {"origin": server.url, "sec_fetch_site": "same-origin"}
    return server.ask("POST", path, urlencode(fields).encode(), **FORM, **origin)


def refusing(own: Project) -> int:
    """How many workers have refused a call as stopped, by what each of them counted."""
    counted = [file.read_bytes() for file in (own.folder / ".splice" / "run").glob("metrics-*")]
    return sum(b"stopped" in one for one in counted)


class Load:
    """Clients that ask all the time over connections that last, and note when each answer came.

    `stalled_s` is the longest time for which this machine let nobody run: a busy one keeps
    servers from their clocks as well, and that is no fault of theirs.
    """

    def __init__(self, server: Server, clients: int = 6) -> None:
        self._server = server
        self._end = threading.Event()
        self.answers: list[tuple[float, float, Answer]] = []
        self.faults: list[BaseException] = []
        self.stalled_s = 0.0
        self._threads = [threading.Thread(target=self._ask, daemon=True) for _ in range(clients)]
        self._threads.append(threading.Thread(target=self._watch, daemon=True))

    def _ask(self) -> None:
        try:
            while not self._end.is_set():
                with contextlib.closing(self._server.connection()) as one:
                    for _ in range(25):  # then another, which may be another worker's
                        sent = time.monotonic()
                        answer = one.post(CALLS, CLAIM)
                        self.answers.append((sent, time.monotonic(), answer))
        except BaseException as error:  # noqa: BLE001 - the test looks at it
            self.faults.append(error)

    def _watch(self) -> None:
        while not self._end.is_set():
            before = time.monotonic()
            time.sleep(0.01)
            self.stalled_s = max(self.stalled_s, time.monotonic() - before - 0.01)

    def __enter__(self) -> Load:
        for one in self._threads:
            one.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for one in self._threads:
            one.join(30)

    def until(self, count: int) -> None:
        """Until so many more answers came."""
        wanted = len(self.answers) + count
        until(lambda: len(self.answers) >= wanted or bool(self.faults))

    def asked_after(self, when: float) -> list[Answer]:
        return [answer for sent, _, answer in self.answers if sent >= when]


@pytest.fixture
def own(tmp_path: Path) -> Project:
    return project(tmp_path / "p", toml=TOML.replace("workers = 1", "workers = 3"))


def test_a_second_after_it_is_pressed_no_worker_answers_and_so_it_is_after_a_restart(
    own: Project,
) -> None:
    with own.serve(workers=3) as server, Load(server) as load:
        load.until(100)
        pressing = time.monotonic()
        pressed = press(server, STOP, why="it pays what it should not")
        stopped = time.monotonic()
        until(lambda: time.monotonic() > stopped + PROMISED_S + 4 * load.stalled_s)
        from_now = time.monotonic()
        load.until(150)

        assert load.faults == []
        assert (pressed.status, pressed.headers["location"]) == (
            303, "/console/integrations/claims"
        )  # fmt: skip
        late = load.asked_after(from_now)
        assert len(late) >= 120
        assert {(one.status, one.json["code"]) for one in late} == {(503, "stopped")}
        before = [one for _, ended, one in load.answers if ended < pressing]
        assert {one.status for one in before} == {200}
    with own.serve(workers=3) as server:
        again = [server.post(CALLS, CLAIM) for _ in range(30)]
        assert {one.json["code"] for one in again} == {"stopped"}

        assert press(server, "/console/integrations/claims/start").status == 303
        until(lambda: all(server.post(CALLS, CLAIM).status == 200 for _ in range(20)))
    told = [(one["action"], one["why"], one["origin"]) for one in own_events(own)]
    stop, start = told[-2:]
    assert stop[:2] == ("integration.stop", "it pays what it should not")
    assert (stop[2]["surface"], stop[2]["address"]) == ("console", "127.0.0.1")
    assert (start[0], start[2]["command"]) == (
        "integration.start", "POST /console/integrations/claims/start"
    )  # fmt: skip


def own_events(own: Project) -> list[dict[str, Any]]:
    return json.loads(own.run("audit", "list", "--json").stdout)


def test_it_is_pressed_only_here_with_a_reason_and_by_who_may(tmp_path: Path) -> None:
    one = project(tmp_path / "p")
    with one.serve() as server:
        foreign = server.ask(
            "POST", STOP, b"why=x", **FORM, origin="http://evil.example",
            sec_fetch_site="cross-site",
        )  # fmt: skip
        silent = press(server, STOP, why="  ")
        nothing = press(server, "/console/integrations/no-such/stop", why="x")
        back = press(server, "/console/integrations/claims/rollback", to="7", why="x")

        assert [each.status for each in (foreign, silent, nothing, back)] == [403, 422, 404, 404]
        assert server.post(CALLS, CLAIM).status == 200


def test_an_older_release_answers_again_from_the_console(tmp_path: Path) -> None:
    one = project(tmp_path / "p")
    with one.serve() as server:
        one.declare((one.folder / "integrations.py").read_text().replace("/ 1000", "/ 2000"))
        assert one.run("release", "apply", "--yes").returncode == 0
        until(lambda: server.post(CALLS, CLAIM).json["release"] == 2)

        pressed = press(server, "/console/integrations/claims/rollback", to="1", why="worse")

        assert pressed.status == 303
        until(lambda: server.post(CALLS, CLAIM).json["release"] == 1)
    assert [each["why"] for each in own_events(one)][-1] == "worse"


class Gate:
    """A way to a database that can be shut, as when the database is away."""

    def __init__(self, to: str) -> None:
        self._to = to  # a socket of this machine
        self._open = True
        self._pairs: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                if not self._open:
                    near.close()
                    continue
                far = socket.socket(socket.AF_UNIX)
                far.connect(self._to)
                self._pairs += [near, far]
                for one, other in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(one, other), daemon=True).start()

    @staticmethod
    def _carry(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := one.recv(65536):
                other.sendall(piece)
        with contextlib.suppress(OSError):
            other.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        self._open = False
        for one in self._pairs:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
        self._pairs.clear()

    def reopen(self) -> None:
        self._open = True

    def close(self) -> None:
        self.shut()
        self._listener.close()


@pytest.fixture
def gate(postgres_database: str) -> Iterator[tuple[Gate, str]]:
    from sqlalchemy.engine import make_url

    url = make_url(postgres_database)
    made = Gate(f"{url.query['host']}/.s.PGSQL.5432")
    there = url.set(host="127.0.0.1", port=made.port).difference_update_query(["host"])
    yield made, there.render_as_string(hide_password=False)
    made.close()


@pytest.mark.postgres
def test_with_the_ledger_away_what_is_stopped_stays_so_and_nothing_else_can_be_pressed(
    tmp_path: Path, gate: tuple[Gate, str]
) -> None:
    way, url = gate
    own = project(
        tmp_path / "p",
        toml=TOML.replace("[ledger]", f'[ledger]\nurl = "{url}"').replace("workers = 1", ""),
    )
    with own.serve(workers=2) as server:
        assert press(server, STOP, why="now").status == 303
        until(lambda: server.post(CALLS, CLAIM).status == 503 and refusing(own) == 2)

        way.shut()
        for _ in range(60):
            assert server.post(CALLS, CLAIM).json["code"] == "stopped"
            time.sleep(0.02)
        pressed = press(server, "/console/integrations/claims/start")
        assert pressed.status == 503
        assert server.post(CALLS, CLAIM).json["code"] == "stopped"
        server.kill()
    assert own.run("serve", "--port", "0").returncode != 0  # who cannot know answers nothing

    way.reopen()
    with own.serve(workers=2) as server:
        assert {server.post(CALLS, CLAIM).json["code"] for _ in range(20)} == {"stopped"}
