"""What every IdentityProvider must hold to.

Inherit `IdentityContract` and give it the fixture `server`, an `IdentityServer`, and `provider`, a
provider of its issuer whose client is `splice` and whose audience is `https://splice.test`.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from joserfc.jwk import RSAKey

from splice.core.errors import UnknownKey
from splice.core.identity_errors import IdentityAway, SignInRefused
from splice.ports.identity import Asked, Identity, IdentityProvider
from splice.testing.identity_server import IdentityServer

ASKED = Asked("https://splice.test/back", "s" * 43, "n" * 43, "v" * 43)
HERE = "https://splice.test"

FORGED: dict[str, dict[str, Any]] = {
    "of another issuer": {"iss": "https://evil.example.com"},
    "meant for somebody else": {"aud": "https://other.test"},
    "meant for nobody": {"aud": None},
    "meant for what is no list": {"aud": {"https://splice.test": 1}},
    "over": {"exp": int(time.time()) - 120},
    "without an end": {"exp": None},
    "with an end that is no time": {"exp": "tomorrow"},
    "with an end that is not finite": {"exp": float("inf")},
    "that ends when true": {"exp": True},
    "not valid yet": {"nbf": int(time.time()) + 600},
    "of the future": {"iat": int(time.time()) + 600},
    "of nobody": {"sub": None},
    "of an empty name": {"sub": ""},
}


class IdentityContract:
    """Whoever the provider says signed in is let in; nobody and nothing else."""

    async def signed_in(
        self, provider: IdentityProvider, server: IdentityServer, **answer: Any
    ) -> Identity:
        server.nonce = server.nonce or ASKED.nonce
        return await provider.signed_in(ASKED, {"state": ASKED.state, "code": "c", **answer})

    async def test_a_browser_is_sent_with_state_nonce_and_a_challenge(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        address = await provider.address(ASKED)

        query = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}
        assert address.startswith(f"{server.issuer}/auth?")
        assert query["response_type"] == "code"
        assert query["state"] == ASKED.state
        assert query["nonce"] == ASKED.nonce
        assert query["code_challenge_method"] == "S256"
        assert ASKED.verifier not in address
        assert query["redirect_uri"] == ASKED.redirect_url

    async def test_whoever_comes_back_is_who_the_provider_says(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        server.userinfo = {"email": "anna@example.com"}

        identity = await self.signed_in(provider, server)

        assert (identity.issuer, identity.subject) == (server.issuer, "anna")
        assert identity.claims["email"] == "anna@example.com"
        assert server.asked[-1]["code_verifier"] == ASKED.verifier

    @pytest.mark.parametrize("state", ["", "t" * 43, "s" * 42, "ß"])
    async def test_an_answer_to_another_sign_in_is_refused(
        self, provider: IdentityProvider, server: IdentityServer, state: str
    ) -> None:
        with pytest.raises(SignInRefused, match="another sign-in"):
            await self.signed_in(provider, server, state=state)

        assert server.asked == []

    @pytest.mark.parametrize("nonce", ["", "m" * 43])
    async def test_a_token_of_another_sign_in_is_refused(
        self, provider: IdentityProvider, server: IdentityServer, nonce: str
    ) -> None:
        server.claims = {"nonce": nonce or None}

        with pytest.raises(SignInRefused, match="another sign-in"):
            await self.signed_in(provider, server)

    async def test_an_answer_that_names_another_provider_is_refused(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        with pytest.raises(SignInRefused, match="another provider"):
            await self.signed_in(provider, server, iss="https://evil.example.com")

    async def test_a_refusal_of_the_provider_is_told(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        with pytest.raises(SignInRefused, match="access_denied"):
            await self.signed_in(provider, server, error="access_denied", code="")

    async def test_what_the_provider_says_of_somebody_else_does_not_count(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        server.userinfo = {"sub": "mallory", "email": "boss@example.com"}

        identity = await self.signed_in(provider, server)

        assert "email" not in identity.claims

    @pytest.mark.parametrize("forged", [one for one in FORGED if "meant" not in one])
    async def test_nobody_signs_in_by_a_forged_token(
        self, provider: IdentityProvider, server: IdentityServer, forged: str
    ) -> None:
        server.claims = FORGED[forged]

        with pytest.raises(SignInRefused):
            await self.signed_in(provider, server)

    async def test_nobody_signs_in_by_an_access_token_or_one_for_several(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        for claims in ({"aud": HERE}, {"aud": ["splice", HERE]}, {"azp": "other"}):
            server.claims = claims
            with pytest.raises(SignInRefused):
                await self.signed_in(provider, server)

    async def test_an_access_token_says_who_shows_it(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        server.new_key("two", "ES256")
        for kid in ("one", "two"):
            token = server.token(kid, sub="billing", aud=["x", HERE], scope="calls")

            identity = await provider.verified(token)

            assert (identity.issuer, identity.subject) == (server.issuer, "billing")
            assert identity.claims["scope"] == "calls"
            assert identity.expires_us > time.time_ns() // 1000

    @pytest.mark.parametrize("forged", FORGED)
    async def test_a_forged_access_token_is_refused(
        self, provider: IdentityProvider, server: IdentityServer, forged: str
    ) -> None:
        with pytest.raises(UnknownKey):
            await provider.verified(server.token(**{"aud": HERE, **FORGED[forged]}))

    async def test_the_algorithm_is_not_for_the_token_to_say(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        good = server.token(aud=HERE)
        await provider.verified(good)

        for token in (
            server.unsigned(aud=HERE),
            server.signed_by_public_key(aud=HERE),
            good.rpartition(".")[0] + ".",
            good[:-8] + ("A" * 8 if not good.endswith("A" * 8) else "B" * 8),
            good.replace(".", ".."),
            "eyJhbGciOiJSUzI1NiJ9.e30.x" + "A" * 80,
            "not.a.token" * 10,
        ):
            with pytest.raises(UnknownKey):
                await provider.verified(token)

    async def test_a_key_that_fits_several_algorithms_signs_by_those_of_the_settings_only(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        server.keys["bare"] = RSAKey.generate_key(2048, {"kid": "bare"})

        assert (await provider.verified(server.token("bare", aud=HERE))).subject == "anna"
        for algorithm in ("PS256", "RS512"):
            with pytest.raises(UnknownKey, match=algorithm):
                await provider.verified(server.token("bare", aud=HERE, header={"alg": algorithm}))

    async def test_a_token_that_names_no_key_counts_where_there_is_one(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        token = server.token(aud=HERE, header={"kid": None})

        assert (await provider.verified(token)).subject == "anna"

    async def test_a_key_of_somebody_else_signs_nothing(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        with IdentityServer() as other:
            other.new_key("one")
            forged = other.token(iss=server.issuer, aud=HERE)
            named = other.token(iss=server.issuer, aud=HERE, header={"jku": f"{other.issuer}/jwks"})

        for token in (forged, named):
            with pytest.raises(UnknownKey, match="signature"):
                await provider.verified(token)

    async def test_a_new_key_of_the_provider_is_found_and_one_that_is_gone_is_not(
        self, provider: IdentityProvider, server: IdentityServer, passed: Any
    ) -> None:
        old = server.token(aud=HERE)
        await provider.verified(old)
        del server.keys["one"]
        server.new_key("two")
        passed(3)

        identity = await provider.verified(server.token("two", aud=HERE))

        assert identity.subject == "anna"
        with pytest.raises(UnknownKey, match="does not publish"):
            await provider.verified(old)

    async def test_unknown_keys_do_not_have_the_provider_asked_each_time(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        await provider.verified(server.token(aud=HERE))
        server.new_key("two")
        token = server.token("two", aud=HERE)
        del server.keys["two"]
        server.fetched.clear()

        for _ in range(20):
            with pytest.raises(UnknownKey):
                await provider.verified(token)

        assert len(server.fetched) <= 2

    async def test_while_the_provider_is_away_known_keys_count_and_nobody_new_comes_in(
        self, provider: IdentityProvider, server: IdentityServer, passed: Any
    ) -> None:
        token = server.token(aud=HERE)
        await provider.verified(token)
        server.close()
        passed(3600)

        assert (await provider.verified(token)).subject == "anna"
        with pytest.raises(IdentityAway):
            await self.signed_in(provider, server)

    async def test_a_provider_that_was_never_reached_says_so_at_once(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        server.close()

        for _ in range(3):
            with pytest.raises(IdentityAway):
                await provider.address(ASKED)
            with pytest.raises(IdentityAway):
                await provider.verified(server.token(aud=HERE))

    async def test_a_provider_that_calls_itself_something_else_is_none(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        server.about = {"issuer": "https://evil.example.com"}

        with pytest.raises(IdentityAway, match="evil"):
            await provider.address(ASKED)

    async def test_no_code_goes_to_an_address_in_clear(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        server.about = {"token_endpoint": "http://evil.example.com/token"}

        with pytest.raises(IdentityAway, match="token_endpoint"):
            await self.signed_in(provider, server)

    async def test_nothing_that_is_printed_holds_a_secret(
        self, provider: IdentityProvider, server: IdentityServer
    ) -> None:
        server.claims = {"canary": "canary-7f3a"}

        identity = await self.signed_in(provider, server)

        assert "canary" not in repr(identity)
        assert ASKED.state not in repr(ASKED)
