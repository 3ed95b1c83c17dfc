"""An OpenID provider that signs whatever a test wants, also what no real one would.

It has keys, an address, and one sign-in that always works; the tokens are made by the test. Needs
`joserfc` (splice-ai[governance]).
"""

from __future__ import annotations

import base64
import functools
import json
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

from joserfc import jwt
from joserfc.jwk import ECKey, OctKey, RSAKey


class IdentityServer:
    """A provider on a port of this machine; `with` ends it.

    `claims` is what its next ID token says beside the usual; `asked` holds the forms that came.
    """

    def __init__(self) -> None:
        self.keys: dict[str, RSAKey | ECKey] = {}
        self.claims: dict[str, Any] = {}
        self.userinfo: dict[str, Any] = {}
        self.asked: list[dict[str, str]] = []
        self.fetched: list[str] = []
        self.about: dict[str, Any] = {}
        self.id_token = ""  # instead of the one that it would make
        self.nonce = ""
        self.keys["one"] = _first_key()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"

    def new_key(self, kid: str, algorithm: str = "RS256") -> None:
        """One more key, by its name."""
        about: Any = {"use": "sig", "alg": algorithm, "kid": kid}
        if algorithm.startswith("ES"):
            self.keys[kid] = ECKey.generate_key("P-256", about)
        else:
            self.keys[kid] = RSAKey.generate_key(2048, about)

    def token(self, kid: str = "one", *, header: Any = None, **claims: Any) -> str:
        """A token signed by one of the keys; a claim that is None is left out."""
        now = int(time.time())
        said = {"iss": self.issuer, "sub": "anna", "iat": now, "exp": now + 300, **claims}
        key = self.keys[kid]
        algorithm = "ES256" if isinstance(key, ECKey) else "RS256"
        head: dict[str, Any] = {"alg": algorithm, "kid": kid, **(header or {})}
        head = {name: value for name, value in head.items() if value is not None}
        body = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(head, body, key, algorithms=[head["alg"]])

    def unsigned(self, **claims: Any) -> str:
        """A token that says of itself that nobody signed it."""
        _, body, _ = self.token(**claims).split(".")
        return f"{_packed(json.dumps({'alg': 'none'}).encode())}.{body}."

    def signed_by_public_key(self, **claims: Any) -> str:
        """A token signed by HMAC, with the published key as the secret."""
        public = self.keys["one"].as_pem(private=False)
        raw = self.token(**claims).split(".")[1]
        said = json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4)))
        secret = OctKey.import_key(base64.b64encode(public))
        return jwt.encode({"alg": "HS256", "kid": "one"}, said, secret, algorithms=["HS256"])

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> IdentityServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _answer(self, path: str) -> Any:
        self.fetched.append(path)
        if path == "/.well-known/openid-configuration":
            at = self.issuer
            return {
                "issuer": at, "authorization_endpoint": f"{at}/auth", "jwks_uri": f"{at}/jwks",
                "token_endpoint": f"{at}/token", "userinfo_endpoint": f"{at}/me", **self.about,
            }  # fmt: skip
        if path == "/jwks":
            return {"keys": [one.as_dict(private=False) for one in self.keys.values()]}
        if path == "/me":
            return {"sub": "anna", **self.userinfo}
        return {}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self._send(server._answer(self.path))

            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["content-length"])).decode()
                form = {name: values[0] for name, values in parse_qs(raw).items()}
                server.asked.append(form)
                claims = {"aud": "splice", "nonce": server.nonce, **server.claims}
                token = server.id_token or server.token(**claims)
                self._send({"access_token": "x", "token_type": "Bearer", "id_token": token})

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Say nothing."""

            def _send(self, said: Any) -> None:
                body = json.dumps(said).encode()
                self.send_response(200)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.send_header("connection", "close")  # once it is away, it is away
                self.end_headers()
                self.wfile.write(body)

        return Handler


@functools.cache
def _first_key() -> RSAKey:
    """The key that every server begins with: making one takes a tenth of a second."""
    return RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": "one"})


def _packed(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
