"""Encryption: texts of calls are enciphered with a key for each person whom they are about.

A key is made when its person comes first, wrapped by the vault, and stored apart from the ledger.
It is erased by being destroyed. What is in memory is forgotten within a second on every worker.
"""

from __future__ import annotations

import hmac
import os
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import msgspec

from splice.control.envelopes import (
    ID_BYTES,
    TAG_BYTES,
    Aead,
    Held,
    Sealer,
    head_of,
    is_envelope,
    opened,
    owner_of,
)
from splice.core.erasure import is_tag
from splice.core.errors import SettingsError
from splice.core.vault_errors import KeyGone, KeyMissing
from splice.ports.subjects import SubjectKey, SubjectKeys
from splice.ports.vaults import Vault

MOST_HELD = 16_384
"""Keys in memory at the most, the oldest goes first: about eight megabytes."""

Whose: TypeAlias = "tuple[bytes, str]"
"""A person's HMAC and an integration."""

_UNSEEN_S = 60.0
"""So long keys in memory are used while nobody can tell which were destroyed."""

_KEY_BYTES = 32
_PERSON = b"splice person\0"


def cipher_of(key: bytes) -> Aead:
    """AES-256-GCM.

    Raises:
        SettingsError: The extra that brings it is not installed.
    """
    try:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
    except ImportError:
        raise SettingsError(
            "protect.encrypt", got="texts to encrypt, and no library for it",
            promised="cryptography", mend="install splice-ai[governance]",
        ) from None  # fmt: skip
    return AESGCM(key)


class Keychain:
    """The keys of people, as far as they are used now. Safe for many threads; its calls block.

    Args:
        vault: Wraps them.
        keys: Where the wrapped ones are.
        clock: Unix microseconds.
    """

    def __init__(self, vault: Vault, keys: SubjectKeys, clock: Callable[[], int]) -> None:
        self.vault = vault
        self.keys = keys
        self._clock = clock
        self._index_key = b""
        self._held: dict[Whose, Held] = {}
        self._tags: dict[str, bytes] = {}
        self._sealer = Sealer()
        self._lock = threading.RLock()
        self._seen = -1  # the last destroyed key that was looked at
        self._looked = time.monotonic()

    def tag(self, person: str) -> bytes:
        """What stands for a person in indexes and envelopes: 16 bytes of an HMAC.

        A text that stands for one already gives its bytes.

        Raises:
            VaultError: The vault cannot be read.
        """
        found = self._tags.get(person)
        if found is None:
            if is_tag(person):
                return bytes.fromhex(person[5:])
            if not self._index_key:
                self._index_key = self.vault.index_key()
            text = _PERSON + person.encode("utf-8", "surrogatepass")
            found = hmac.digest(self._index_key, text, "sha256")[:TAG_BYTES]
            if len(self._tags) >= MOST_HELD:
                self._tags.clear()
            self._tags[person] = found
        return found

    def named(self, person: str) -> str:
        """The same as text; what is such a text already stays as it is."""
        return f"hmac:{self.tag(person).hex()}"

    def seal(
        self, wanted: Sequence[tuple[Whose, Any, bytes]], *, alike: bool = False
    ) -> list[bytes]:
        """Envelopes: of whose texts, the texts (what msgpack holds), and where each belongs.

        Keys that there are not yet are made, all in one transaction of the key store. `alike`
        gives the same envelope for the same texts.

        Raises:
            VaultError, StoreError: A key could not be had or made.
        """
        with self._lock:
            self._learn()
            held = self._of({whose for whose, _, _ in wanted}, make=True)
            if alike and not self._index_key:
                self._index_key = self.vault.index_key()
            some = [(held[whose], texts, place) for whose, texts, place in wanted]
            return self._sealer.sealed(some, self._index_key if alike else b"")

    def open(self, integration: str, envelope: bytes, place: bytes) -> bytes:
        """The msgpack in an envelope.

        Raises:
            KeyGone: The key was destroyed.
            KeyMissing: There is no such key here, or it does not fit.
            VaultError, StoreError: The vault or the key store cannot be read.
        """
        tag, key_id = owner_of(envelope)
        held = self._held.get((tag, integration))
        if held is None:
            with self._lock:
                self._learn()
                held = self._of({(tag, integration)}, make=False).get((tag, integration))
        if held is None or not envelope.startswith(held.head):
            gone = self.keys.gone([key_id])
            if key_id in gone:
                error = KeyGone(integration, got="texts whose key was destroyed")
                error.at_us = gone[key_id]
                raise error
            raise KeyMissing(
                integration, got="texts whose key is not in the key store",
                promised=f"the keys that belong to {self.vault.place}",
                mend="see [encryption] in splice.toml: another key store may be meant",
            )  # fmt: skip
        try:
            return opened(held, envelope, place)
        except ValueError as error:
            raise KeyMissing(
                integration, got=str(error), promised="what was recorded",
                mend="splice audit verify tells what was changed",
            ) from None  # fmt: skip

    def ready(self, envelopes: Iterable[tuple[str, bytes]]) -> None:
        """Get the keys of many envelopes (integration and envelope) at once, ahead of `open`."""
        wanted = {(owner_of(one)[0], name) for name, one in envelopes if is_envelope(one)}
        if wanted:
            with self._lock:
                self._of(wanted, make=False)

    def rewrapped(self, keys: Sequence[SubjectKey]) -> list[SubjectKey]:
        """The same keys, wrapped by what wraps now.

        Raises:
            VaultError: One cannot be unwrapped.
        """
        return [self._wrapped_again(one, self._unwrap(one)) for one in keys]

    def forget(self) -> int:
        """Let go of keys that were destroyed since the last time; says how many that were.

        Raises:
            StoreError: The key store cannot be read; after a minute of that every key is let go of.
        """
        with self._lock:
            try:
                count = self._learn(now=True)
            except BaseException:
                if time.monotonic() - self._looked > _UNSEEN_S:
                    self._held.clear()
                    self._tags.clear()
                raise
            self._looked = time.monotonic()
            return count

    def _learn(self, *, now: bool = False) -> int:
        """At the first time nothing is held yet: only how far the list goes must be known."""
        if self._seen >= 0 and not now:
            return 0
        count = 0
        while some := self.keys.erased(max(self._seen, 0)):
            for one in some:
                self._held.pop((one.tag, one.integration), None)
            count += len(some)
            self._seen = some[-1].number
        if count:
            self._tags.clear()
        self._seen = max(self._seen, 0)
        return count

    def _of(self, wanted: set[Whose], *, make: bool) -> dict[Whose, Held]:
        found: dict[Whose, Held] = {}
        missing: list[Whose] = []
        for whose in wanted:
            held = self._held.get(whose)
            if held is None:
                missing.append(whose)
            else:
                found[whose] = held
        if missing:
            for whose, held in self._read(missing, make=make).items():
                found[whose] = self._held[whose] = held
            while len(self._held) > MOST_HELD:
                self._held.pop(next(iter(self._held)))
        return found

    def _read(self, missing: Sequence[Whose], *, make: bool) -> dict[Whose, Held]:
        ready: dict[Whose, Held] = {}
        stored = self.keys.get(missing)
        for whose, key in stored.items():
            held = self._unwrapped(key)
            if held is not None:
                ready[whose] = held
            elif make:
                raise KeyGone(
                    self.vault.place, got=f"a person's key that {key.kek} wrapped, which is gone",
                    promised="every key that wraps those of the key store",
                    mend="bring the vault back, or erase the person: hmac:" + key.tag.hex(),
                )  # fmt: skip
        if make and (new := [whose for whose in missing if whose not in ready]):
            ready |= self._new(new)
        return ready

    def _new(self, new: Sequence[Whose]) -> dict[Whose, Held]:
        made = {whose: self._made(whose) for whose in new}
        counts = self.keys.add([key for key, _, _ in made.values()])
        keks = {one.id for one in self.vault.keks()}
        # What wrapped them may have been replaced, and destroyed, since: before they are used they
        # are wrapped by one that is there.
        self.keys.rewrap(
            [
                self._wrapped_again(key, made[whose][2])
                for whose, key in counts.items()
                if key.kek not in keks and key.id == made[whose][0].id
            ]
        )
        ready: dict[Whose, Held] = {}
        for whose, key in counts.items():
            if key.id == made[whose][0].id:
                ready[whose] = made[whose][1]
            elif (held := self._unwrapped(key)) is not None:  # another process was quicker
                ready[whose] = held
        return ready

    def _wrapped_again(self, key: SubjectKey, plain: bytes) -> SubjectKey:
        kek, wrapped = self.vault.wrap(plain, bound_to(key.tag, key.integration, key.id))
        return msgspec.structs.replace(key, kek=kek, wrapped=wrapped)

    def _made(self, whose: Whose) -> tuple[SubjectKey, Held, bytes]:
        tag, integration = whose
        key, key_id = os.urandom(_KEY_BYTES), os.urandom(ID_BYTES)
        aead = cipher_of(key)
        kek, wrapped = self.vault.wrap(key, bound_to(tag, integration, key_id))
        stored = SubjectKey(tag, integration, key_id, kek, wrapped, self._clock())
        return stored, Held(aead, head_of(tag, key_id)), key

    def _unwrapped(self, key: SubjectKey) -> Held | None:
        try:
            plain = self._unwrap(key)
        except KeyGone:
            # It may have been wrapped anew, and the old one destroyed, between the two reads.
            again = self.keys.get([(key.tag, key.integration)]).get((key.tag, key.integration))
            if again is None:
                return None
            plain = self._unwrap(again)
            key = again
        return Held(cipher_of(plain), head_of(key.tag, key.id))

    def _unwrap(self, key: SubjectKey) -> bytes:
        bound = bound_to(key.tag, key.integration, key.id)
        return self.vault.unwrap(key.wrapped, key.kek, bound)


def bound_to(tag: bytes, integration: str, key_id: bytes) -> bytes:
    """What a wrapped key is tied to: put in another's place, it does not unwrap."""
    return tag + key_id + integration.encode()
