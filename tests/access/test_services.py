"""Services call by signed tokens of a real provider, and by client certificates over real TLS."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import ssl
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from access_house import AUDIENCE, ORDERS, Provider, free_port, until

from splice.testing.certificates import Authority
from splice.testing.identity_server import IdentityServer
from splice.testing.project import Answer, Project, Server

ASKED = {"customer": "c-1", "amount": 700.0}


def calls(name: str = "orders") -> str:
    return f"/v1/integrations/{name}/calls"


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def token(provider: Provider) -> str:
    """An access token of the provider for the service `billing`."""
    form = {"grant_type": "client_credentials", "resource": AUDIENCE, "scope": "calls"}
    pair = base64.b64encode(f"billing:{provider.secret}".encode()).decode()
    asked = urllib.request.Request(
        f"{provider.issuer}/token", urllib.parse.urlencode(form).encode(),
        {"authorization": f"Basic {pair}"},
    )  # fmt: skip
    with urllib.request.urlopen(asked) as answer:
        return json.load(answer)["access_token"]


def test_a_token_of_the_provider_calls_what_its_service_may(
    console: Server, token: str, project: Project
) -> None:
    for _ in range(6):  # each worker meets it for the first time
        answered = console.post(calls(), ASKED, **bearer(token))
        assert answered.status == 200, answered.body
    connection = console.connection()
    kept = [connection.ask("POST", calls(), ASKED, bearer(token)).status for _ in range(3)]
    connection.close()
    call_id = answered.json["call_id"]

    assert kept == [200, 200, 200]
    assert console.post(calls("refunds"), ASKED, **bearer(token)).status == 403
    assert console.post(calls(), ASKED).status == 401
    asks = {"method": "GET", "path": f"/v1/calls/{call_id}", **bearer(token)}
    until(lambda: console.ask(**asks).status == 200)  # it is written with others
    shown = console.ask(**asks)
    assert shown.json["caller"] == "service:billing"
    names = console.ask("GET", "/v1/integrations", **bearer(token)).json["integrations"]
    assert [one["name"] for one in names] == ["orders"]
    assert console.ask("GET", "/console/calls.csv", **bearer(token)).status == 403
    assert token not in console.log


def test_the_token_that_people_sign_in_by_calls_nothing(
    console: Server, provider: Provider
) -> None:
    with IdentityServer() as other:
        for forged in (
            other.token(iss=provider.issuer, sub="billing", aud=AUDIENCE),
            other.token(sub="billing", aud=AUDIENCE),
            other.unsigned(iss=provider.issuer, sub="billing", aud=AUDIENCE),
        ):
            refused = console.post(calls(), ASKED, **bearer(forged))
            assert refused.status == 401, refused.body
            assert refused.json["where"] == "token"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


MTLS = """
[project]
apply = "new"
[ledger]
flush_interval_ms = 1
[tls]
cert = "{cert}"
key = "{key}"
client_ca = "{ca}"
[services.billing]
certificate = "uri:spiffe://corp/billing"
integrations = ["orders"]
[services.batch]
certificate = "dns:*.batch.corp"
integrations = ["refunds"]
"""


class Secured:
    def __init__(self, server: Server) -> None:
        self.server = server

    def ask(self, tls: ssl.SSLContext, path: str, times: int = 1) -> list[Answer]:
        connection = http.client.HTTPSConnection(
            self.server.host, self.server.port, context=tls, timeout=30
        )
        found = []
        with contextlib.closing(connection):
            for _ in range(times):
                body = json.dumps(ASKED)
                connection.request("POST", path, body, {"content-type": "application/json"})
                got = connection.getresponse()
                found.append(Answer(got.status, dict(got.getheaders()), got.read()))
        return found


@pytest.fixture(scope="module")
def secured(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secured]:
    """Two workers over TLS."""
    pair = authority.issue("server", "dns:localhost", "ip:127.0.0.1")
    toml = MTLS.format(cert=pair.cert, key=pair.key, ca=authority.ca)
    project = Project(tmp_path_factory.mktemp("secured") / "shop", toml)
    project.declare(ORDERS)
    with project.serve(workers=2, tls=authority.client()) as server:
        yield Secured(server)


def test_a_client_certificate_says_which_service_calls(
    secured: Secured, authority: Authority
) -> None:
    billing = authority.client(authority.issue("billing", "uri:spiffe://corp/billing"))
    batch = authority.client(authority.issue("night", "dns:night.batch.corp", "dns:x.corp"))

    answered = [one for _ in range(4) for one in secured.ask(billing, calls(), 3)]

    assert {one.status for one in answered} == {200}
    assert secured.ask(billing, calls("refunds"))[0].status == 403
    assert secured.ask(batch, calls("refunds"))[0].status == 200
    assert secured.ask(batch, calls())[0].status == 403
    said = {one.json["call_id"] for one in answered}
    shown = until(lambda: [one for one in _listed(secured, batch) if one["integration"]])
    assert {one["caller"] for one in shown} == {"service:batch/dns:night.batch.corp"}
    assert len(said) == len(answered)


def _listed(secured: Secured, tls: ssl.SSLContext) -> list[dict[str, Any]]:
    connection = http.client.HTTPSConnection(
        secured.server.host, secured.server.port, context=tls, timeout=30
    )
    connection.request("GET", "/v1/calls")
    found = json.loads(connection.getresponse().read())["calls"]
    connection.close()
    return found


def test_a_certificate_of_nobody_or_of_a_foreign_authority_opens_nothing(
    secured: Secured, authority: Authority, tmp_path: Path
) -> None:
    foreign = Authority(tmp_path / "foreign", "Foreign authority")
    claimed = foreign.issue("billing", "uri:spiffe://corp/billing")
    shown = authority.client()
    shown.load_cert_chain(claimed.cert, claimed.key)

    none = secured.ask(authority.client(), calls())[0]
    stranger = secured.ask(authority.client(authority.issue("x", "dns:x.corp")), calls())[0]
    claims_it = authority.client(authority.issue("billing.corp", "dns:billing.corp"))
    named = secured.ask(claims_it, calls())[0]

    assert (none.status, stranger.status, named.status) == (401, 401, 401)
    with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
        secured.ask(shown, calls())
    with pytest.raises(ssl.SSLCertVerificationError):
        secured.ask(ssl.create_default_context(), calls())


def test_where_they_are_required_nobody_gets_far_without_one_and_grpc_takes_them_too(
    authority: Authority, tmp_path: Path
) -> None:
    import grpc

    from splice.oip.messages import message_class

    pair = authority.issue("server", "dns:localhost", "ip:127.0.0.1")
    billing = authority.issue("billing", "uri:spiffe://corp/billing")
    port = free_port()
    toml = MTLS.format(cert=pair.cert, key=pair.key, ca=authority.ca)
    toml = toml.replace("[services.billing]", f"[oip]\ngrpc_port = {port}\n[services.billing]")
    project = Project(tmp_path / "shop", toml.replace("[tls]", '[tls]\nclients = "required"'))
    project.declare(ORDERS)
    request = message_class("ModelReadyRequest")

    def ready(name: str, *shown: bytes) -> Any:
        credentials = grpc.ssl_channel_credentials(authority.ca.read_bytes(), *shown)
        with grpc.secure_channel(f"localhost:{port}", credentials) as channel:
            ask = channel.unary_unary("/inference.GRPCInferenceService/ModelReady")
            raw = ask(request(name=name).SerializeToString(), timeout=30)
            return message_class("ModelReadyResponse").FromString(raw).ready

    def refused(name: str, *shown: bytes) -> Any:
        with pytest.raises(grpc.RpcError) as error:
            ready(name, *shown)
        return error.value.code()

    own = (billing.key.read_bytes(), billing.cert.read_bytes())
    with project.serve(tls=authority.client(billing)) as server:
        secured = Secured(server)
        assert secured.ask(authority.client(billing), calls())[0].status == 200
        with pytest.raises((ssl.SSLError, ConnectionError, http.client.HTTPException)):
            secured.ask(authority.client(), calls())
        assert ready("orders", *own) is True
        assert refused("refunds", *own) is grpc.StatusCode.PERMISSION_DENIED
        assert refused("orders") is grpc.StatusCode.UNAVAILABLE


def test_settings_of_tls_that_do_not_fit_are_told_before_a_port_is_taken(
    authority: Authority, tmp_path: Path
) -> None:
    one, other = authority.issue("one"), authority.issue("other")
    for toml, said in (
        (f'[tls]\ncert = "{one.cert}"\nkey = "{other.key}"\n', "tls.cert"),
        ('[tls]\ncert = "not-there.pem"\n', "not-there.pem"),
        ('[tls]\nclients = "required"\n', "tls.cert"),
        (f'[tls]\ncert = "{one.cert}"\nkey = "{one.key}"\nclients = "required"\n', "client_ca"),
        ('[services.a]\ncertificate = "dns:a"\n', "tls.client_ca"),
        ('[services.a]\nissuer = "x"\nsubject = "y"\n', "services.a.issuer"),
        ("[services.a]\nintegrations = ['x']\n", "services.a"),
    ):
        project = Project(tmp_path / "wrong", toml)
        project.declare(ORDERS)

        ran = project.run("serve", "--port", "0")

        assert ran.returncode == 2, ran.stderr
        assert said in ran.stderr
        assert "ready on" not in ran.stderr
