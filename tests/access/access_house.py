"""A real OpenID provider, and a project whose people and services it knows."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
from pathlib import Path
from typing import Any, ClassVar

from joserfc.jwk import RSAKey

ORDERS = '''
import splice


class Order(splice.Request):
    customer: splice.Entity
    amount: float


class Screening(splice.Reply):
    risk: float


def score(context):
    return 0.9 if context["amount"] > 500 else 0.1


class Orders(splice.Integration):
    """Find the orders that will not be paid."""

    routes = [splice.Rule(score)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score)


class Refunds(splice.Integration):
    """Find the refunds that nobody is owed."""

    routes = [splice.Rule(score)]

    def decide(self, order: Order, prediction: splice.Prediction) -> Screening:
        return Screening(prediction.score)
'''
AUDIENCE = "https://splice.test"
PATIENCE_S = 60


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(found: Any) -> Any:
    """What is found, once it is."""
    give_up = time.monotonic() + PATIENCE_S
    while not (value := found()):
        assert time.monotonic() < give_up, "waited in vain"
        time.sleep(0.02)
    return value


class Provider:
    """npm's oidc-provider as a process, with one client for people and one for services."""

    secret = "a-secret-of-the-tests-that-is-long-enough"
    accounts: ClassVar[dict[str, Any]] = {
        "anna": {
            "email": "Anna@example.com", "email_verified": True, "name": "Anna Krause",
            "groups": ["fraud-team"],
        },
        "ben": {"email": "ben@example.com", "email_verified": True, "groups": []},
        "eve": {"email": "anna@example.com", "email_verified": False, "groups": ["fraud-team"]},
        "mallory": {"email": "anna@example.com", "email_verified": True, "groups": []},
    }  # fmt: skip

    def __init__(self, script: str, folder: Path, console_port: int) -> None:
        self._script, self._folder = script, folder
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self.console_port = free_port(), console_port
        self.issuer = f"http://127.0.0.1:{self.port}"
        self.new_key("one")

    def new_key(self, kid: str) -> None:
        """Its only key from its next start on."""
        about: Any = {"use": "sig", "alg": "RS256", "kid": kid}
        self._keys = {"keys": [RSAKey.generate_key(2048, about).as_dict(private=True)]}

    def start(self) -> None:
        settings = {
            "port": self.port, "issuer": self.issuer, "jwks": self._keys,
            "accounts": self.accounts,
            "clients": [
                {
                    "client_id": "splice", "client_secret": self.secret,
                    "redirect_uris": [f"http://127.0.0.1:{self.console_port}/console/sign-in/back"],
                },
                {
                    "client_id": "billing", "client_secret": self.secret, "redirect_uris": [],
                    "response_types": [], "grant_types": ["client_credentials"], "scope": "calls",
                },
            ],
        }  # fmt: skip
        file = self._folder / "provider.json"
        file.write_text(json.dumps(settings), "utf-8")
        log = self._folder / "provider.log"
        node = shutil.which("node")
        assert node is not None
        with log.open("wb") as said:
            self._process = subprocess.Popen(
                [node, self._script, str(file)], stdout=said, stderr=said, stdin=subprocess.DEVNULL
            )
        until(lambda: "ready" in log.read_text("utf-8") or self._process.poll() is not None)
        assert self._process.poll() is None, log.read_text("utf-8")

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait(30)
            self._process = None


TOML = """
[project]
apply = "new"
[ledger]
flush_interval_ms = 1
[people]
issuer = "{issuer}"
client_id = "splice"
client_secret_env = "SIGN_IN_SECRET"
[people.roles]
fraud-team = ["viewer@orders"]
[issuers.corp]
issuer = "{issuer}"
audience = "{audience}"
[services.billing]
issuer = "corp"
subject = "billing"
integrations = ["orders"]
"""
