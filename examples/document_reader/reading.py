"""From the bytes of a file to what it is and what it says; every refusal is an answer, too."""

from __future__ import annotations

import hashlib
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from magika import Magika
from magika.types import ContentTypeInfo
from PIL import Image, ImageOps

from document_reader import VERSION, formats
from document_reader.formats import UnreadableError
from document_reader.ocr import Scanner

MAX_BYTES: Final = 10 << 20
MAX_TEXT: Final = 20_000
"""Characters that are kept: some six pages, more than a class needs."""
MAX_PIXELS: Final = 40_000_000
"""A page of A4 at 600 dots an inch has 35 million. It is told before a pixel is unpacked."""
Image.MAX_IMAGE_PIXELS = MAX_PIXELS // 2  # Pillow refuses from twice as many
MAX_SCANNED: Final = 3
"""Pages of a scanned PDF that are read; at a second or two each."""

IMAGES: Final = {
    "png": "PNG", "jpeg": "JPEG", "webp": "WEBP", "tiff": "TIFF", "bmp": "BMP", "gif": "GIF",
}  # fmt: skip
DIGITAL: Final = {"docx": formats.docx_text, "html": formats.html_text}


class Reader:
    """Holds the models: for types, and for letters in pictures."""

    def __init__(self) -> None:
        self._types = Magika()
        self._scanner: Scanner | None = None

    def read(self, path: str) -> dict[str, Any]:
        """What the file is and says.

        `refused` says why nobody should read it, `unread` why a person must.
        """
        found: dict[str, Any] = {
            "reader": VERSION, "type": "unknown", "mime": "", "text": "", "how": "none",
            "legible": None, "refused": "", "unread": "", "sha256": None,
        }  # fmt: skip
        try:
            self._read(Path(path), found)
        except UnreadableError as error:
            found["refused"] = str(error)
        except MemoryError:
            found["refused"] = "it unpacks to more than can be read"
        except Exception as error:  # noqa: BLE001 - parsers of hostile files raise anything
            found["refused"] = f"it is damaged ({type(error).__name__})"
        found["text"] = found["text"].strip()[:MAX_TEXT]
        if not found["refused"] and not found["text"]:
            found["unread"] = "no text was found in it"
        return found

    def _read(self, path: Path, found: dict[str, Any]) -> None:
        if path.stat().st_size > MAX_BYTES:
            raise UnreadableError(f"it has more than {MAX_BYTES >> 20} MB")
        content = path.read_bytes()
        found["sha256"] = hashlib.sha256(content).hexdigest()
        what = self._types.identify_bytes(content).output
        found["type"], found["mime"] = str(what.label), what.mime_type
        kind = found["type"]
        if kind == "empty":
            raise UnreadableError("it is empty")
        if kind == "pdf":
            self._pdf(content, found)
        elif kind in IMAGES:
            self._scan([picture(content, IMAGES[kind])], found)
        elif kind in DIGITAL:
            found["how"], found["text"] = "digital", DIGITAL[kind](content)
        elif _is_prose(what):
            found["how"], found["text"] = "digital", formats.plain_text(content)
        else:
            raise UnreadableError(f"files of this type are not taken ({what.description})")

    def _pdf(self, content: bytes, found: dict[str, Any]) -> None:
        found["how"], found["text"] = "digital", formats.pdf_text(content)
        if not found["text"].strip():
            pictures = formats.pdf_pictures(content, MAX_SCANNED)
            self._scan([picture(one, *IMAGES.values()) for one in pictures], found)

    def _scan(self, pictures: list[Image.Image], found: dict[str, Any]) -> None:
        if self._scanner is None:  # it takes a moment, and most documents do without
            self._scanner = Scanner()
        pages = [self._scanner.read(one) for one in pictures]
        found["how"], found["text"] = "ocr", "\n".join(text for text, _ in pages)
        found["legible"] = round(min((sure for _, sure in pages), default=0.0), 3)


def _is_prose(what: ContentTypeInfo) -> bool:
    return what.is_text and str(what.group) in ("text", "unknown")


def picture(content: bytes, *kinds: str) -> Image.Image:
    """The first picture of a file, upright, in colours, on white.

    Raises:
        UnreadableError: It has more pixels than anybody needs.
    """
    try:
        opened = Image.open(BytesIO(content), formats=kinds)
    except Image.DecompressionBombError:
        raise UnreadableError(f"it has more than {MAX_PIXELS:,} pixels") from None
    turned = ImageOps.exif_transpose(opened).convert("RGBA")
    page = Image.new("RGBA", turned.size, "white")
    page.alpha_composite(turned)
    return page.convert("RGB")
