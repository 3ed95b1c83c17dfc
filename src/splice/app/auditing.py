"""Proof: what makes the trees of the ledger, signs their heads, and verifies them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from splice.app.archiving import files_of
from splice.app.chores import Chore
from splice.app.settings import Settings
from splice.app.wiring import Services, Stores
from splice.control.checkpoints import Checkpointer, Pace
from splice.control.exported import verify_export
from splice.control.proving import export, prove, with_texts
from splice.control.signing import Signer, read_public_key
from splice.control.verifying import Archived, Verifier
from splice.core.call import Record
from splice.core.errors import SettingsError
from splice.core.heads import Note, PublicKey, notes
from splice.core.inspection import Inspection
from splice.core.proofs import CallProof
from splice.ports.heads import HeadPlace

TREES_EVERY_S, HEADS_EVERY_S = 1.0, 2.0
STEP = 4096
"""Calls that become leaves at once: some milliseconds of a thread's time."""

_PAGE = 1000
_CHUNK = 1 << 20
_LONGEST = 4096  # characters of a note, and more


def chores_of_audit(services: Services) -> list[Chore]:
    """The chore that puts calls and events into the trees, and, with a key, the one that signs."""
    store = services.stores.checkpoints
    chores = [Chore("trees", TREES_EVERY_S, lambda _: store.sequence(STEP))]
    checkpointer = checkpointer_of(services.settings, services.stores)
    if checkpointer is not None:
        chores.append(Chore("signed heads", HEADS_EVERY_S, checkpointer.step))
    return chores


def signer_of(settings: Settings) -> Signer | None:
    """What signs; None where there is no key.

    Raises:
        SettingsError: What should be a key is none, or what signs is not installed.
    """
    name = settings.audit.signing_key_env
    if name:
        if name not in settings.secrets:
            raise SettingsError("audit.signing_key_env", got=f"{name} is not set", mend="set it")
        return Signer(settings.secrets[name], name)
    file = settings.path(settings.audit.signing_key)
    text = _read(file)
    return None if text is None else Signer(text, str(file))


def public_key_of(settings: Settings, file: Path | None = None) -> PublicKey | None:
    """What verifies: of a file, or of the settings; None where there is none.

    Raises:
        SettingsError: The file that was named is not there, or is no key.
    """
    place = settings.path(settings.audit.public_key) if file is None else file
    text = _read(place)
    if text is not None:
        return read_public_key(text, str(place))
    if file is not None:
        raise SettingsError(str(file), got="no such file", promised="a public key")
    signer = signer_of(settings)
    return None if signer is None else signer.public


def place_of(settings: Settings) -> HeadPlace:
    """Where heads go besides the ledger."""
    where = settings.audit.heads
    if where.startswith(("https://", "http://")):
        from splice.adapters.heads.posted import PostedHeads

        return PostedHeads(where)
    from splice.adapters.heads.files import HeadFile

    return HeadFile(settings.path(where))


def checkpointer_of(settings: Settings, stores: Stores) -> Checkpointer | None:
    """Makes signed heads; None where there is no key to sign with."""
    signer = signer_of(settings)
    if signer is None:
        return None
    pace = Pace(settings.audit.every_seconds, settings.audit.every_calls)
    return Checkpointer(stores.checkpoints, signer, place_of(settings), pace)


def verified(
    settings: Settings, stores: Stores, key: PublicKey | None, kept: Path | None = None
) -> Inspection:
    """What of the ledger holds, against its own heads, those outside, and those of a file.

    Raises:
        StoreError: The ledger cannot be read.
        SettingsError: There is no head in the file.
    """
    sources = {"the ledger": lambda: _heads(stores)}
    where = settings.audit.heads
    warnings: list[str] = []
    if where.startswith(("https://", "http://")):
        warnings.append(f"{where} is not read back: bring a head from there with --head")
    elif settings.path(where).is_file():
        sources[where] = lambda: heads_of(settings.path(where))
    if kept is not None:
        if next(heads_of(kept), None) is None:
            raise SettingsError(str(kept), got="no signed head", promised="a note, or several")
        sources[str(kept)] = lambda: heads_of(kept)
    found = Verifier(
        stores.checkpoints, stores.audit, archived_of(settings, stores), key, sources
    ).verify()
    found.warnings += warnings
    return found


def verified_export(file: Path, key: PublicKey | None, kept: Path | None = None) -> Inspection:
    """What of an export holds. It needs no ledger."""

    def lines() -> Iterator[bytes]:
        with file.open("rb") as opened:
            yield from opened

    def besides() -> Iterable[Note]:
        return [] if kept is None else heads_of(kept)

    return verify_export(lines, key, besides)


def exported(settings: Settings, stores: Stores) -> Iterator[bytes]:
    """Lines of an export."""
    while stores.checkpoints.sequence(STEP):
        pass
    archived = archived_of(settings, stores)
    return export(stores.checkpoints, stores.audit, archived, public_key_of(settings))


def proved(
    settings: Settings, stores: Stores, call_id: str, now_us: int, *, texts: bool = False
) -> CallProof:
    """The proof of a call under the newest head; one is made where none covers it and a key is.

    Raises:
        NotProvable: No head can cover it.
    """
    store = stores.checkpoints
    record = store.sealed([call_id]).get(call_id)
    if record is None:
        record = archived_of(settings, stores)([call_id]).get(call_id)
    head, index = store.newest_head(), store.index_of(call_id)
    if record is not None and (index is None or head is None or head.head.calls <= index):
        checkpointer = checkpointer_of(settings, stores)
        head = head if checkpointer is None else checkpointer.make(now_us)
    proof = prove(store, record, call_id, head)
    return with_texts(proof, record) if texts and record is not None else proof


def archived_of(settings: Settings, stores: Stores) -> Archived:
    """Reads calls that went to files, where there are any."""

    def archived(call_ids: Sequence[str]) -> dict[str, Record]:
        if not stores.archives.files():
            return {}
        return files_of(settings, stores.archives).sealed(call_ids)

    return archived


def heads_of(file: Path) -> Iterator[Note]:
    """The signed heads of a file, in their order; read piece by piece.

    Raises:
        SettingsError: It cannot be read.
    """
    rest = ""
    try:
        with file.open(encoding="utf-8", errors="replace", newline="") as opened:
            while text := opened.read(_CHUNK):
                rest += text
                found = notes(rest)
                yield from found
                end = rest.rindex(found[-1].text) + len(found[-1].text) if found else 0
                rest = rest[max(end, len(rest) - _LONGEST) :]
    except OSError as error:
        raise SettingsError(str(file), got=str(error), promised="signed heads") from None


def _heads(stores: Stores) -> Iterator[Note]:
    number = 0
    while page := stores.checkpoints.heads(number, _PAGE):
        yield from page
        number = page[-1].head.number


def _read(file: Path) -> str | None:
    try:
        return file.read_text("utf-8").strip()
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(str(file), got=str(error), promised="a key") from None
