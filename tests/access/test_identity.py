"""OpenID Connect: what signs in, and everything that is forged and does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from splice.adapters.identity.documents import Documents, safe
from splice.adapters.identity.oidc import OidcProvider
from splice.core.errors import SettingsError
from splice.ports.identity import IdentityOptions
from splice.testing.contracts.identity import HERE, IdentityContract
from splice.testing.identity_server import IdentityServer


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def options(issuer: str) -> IdentityOptions:
    return IdentityOptions(
        issuer=issuer, client_id="splice", secret="s3cret", audience=HERE, timeout_s=5.0
    )


class TestOidc(IdentityContract):
    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def passed(self, clock: Clock) -> Callable[[float], None]:
        """Lets so many seconds pass."""

        def pass_(seconds: float) -> None:
            clock.now += seconds

        return pass_

    @pytest.fixture
    def server(self) -> Iterator[IdentityServer]:
        with IdentityServer() as server:
            yield server

    @pytest.fixture
    async def provider(self, server: IdentityServer, clock: Clock) -> AsyncIterator[OidcProvider]:
        provider = OidcProvider(options(server.issuer))
        provider._documents = Documents(options(server.issuer), clock)
        yield provider
        await provider.close()


@pytest.mark.parametrize(
    "url",
    ["http://login.example.com", "ftp://x", "https://", "https://user:pw@x", "//x", "",
     "javascript:x", "http://127.0.0.1.evil.com", "http://localhost.evil.com"],
)  # fmt: skip
def test_a_provider_in_clear_is_refused_at_start(url: str) -> None:
    assert not safe(url)
    with pytest.raises(SettingsError):
        OidcProvider(options(url))
