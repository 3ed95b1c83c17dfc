"""Text of files that hold text: PDF, DOCX, HTML, plain. Each bounded, none trusted."""

from __future__ import annotations

import zipfile
from html.parser import HTMLParser
from io import BytesIO
from typing import Final
from xml.etree import ElementTree

from pypdf import PdfReader

MAX_PAGES: Final = 20
MAX_XML: Final = 20 << 20
"""Bytes of a DOCX file's text when unpacked; a book has two million."""
_WORDS: Final = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"


class UnreadableError(Exception):
    """Nobody should read this file; says why, as its sender may be told."""


def pdf_text(content: bytes) -> str:
    """The text layer of the first pages; empty for a scan.

    Raises:
        UnreadableError: It is encrypted.
    """
    return "\n".join(page.extract_text() for page in _pdf(content).pages[:MAX_PAGES])


def pdf_pictures(content: bytes, most: int) -> list[bytes]:
    """The pictures on the first pages, one a page: scanned pages, if there is no text layer."""
    found: list[bytes] = []
    for page in _pdf(content).pages[:most]:
        pictures = [one.data for one in page.images]
        found += [max(pictures, key=len)] if pictures else []
    return found


def _pdf(content: bytes) -> PdfReader:
    document = PdfReader(BytesIO(content))
    if document.is_encrypted:
        raise UnreadableError("it is encrypted")
    return document


def docx_text(content: bytes) -> str:
    """The paragraphs of a Word file.

    Raises:
        UnreadableError: It unpacks to too much, or defines entities, which no Word file does.
    """
    with zipfile.ZipFile(BytesIO(content)) as packed, packed.open("word/document.xml") as part:
        raw = part.read(MAX_XML + 1)
    if len(raw) > MAX_XML:
        raise UnreadableError("it unpacks to more than can be read")
    if b"<!DOCTYPE" in raw or b"<!ENTITY" in raw:
        raise UnreadableError("it holds XML definitions, as no Word file does")
    tree = ElementTree.fromstring(raw)  # noqa: S314 - bounded, and without definitions
    paragraphs = tree.iter(f"{_WORDS}p")
    return "\n".join("".join(_runs(paragraph)) for paragraph in paragraphs)


def _runs(paragraph: ElementTree.Element) -> list[str]:
    gaps = {f"{_WORDS}tab": "\t", f"{_WORDS}br": "\n"}
    return [
        (part.text or "") if part.tag == f"{_WORDS}t" else gaps.get(part.tag, "")
        for part in paragraph.iter()
    ]


def html_text(content: bytes) -> str:
    """What a reader of the page sees, a line for each block."""
    page = _Page()
    page.feed(plain_text(content))
    page.close()
    lines = (" ".join(line.split()) for line in "".join(page.parts).splitlines())
    return "\n".join(line for line in lines if line)


class _Page(HTMLParser):
    _HIDDEN: Final = frozenset({"script", "style", "template", "noscript"})
    _INLINE: Final = frozenset({"a", "b", "i", "em", "strong", "span", "small", "code", "td", "th"})

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []
        self._hidden = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._hidden += tag in self._HIDDEN
        self.parts.append(" " if tag in self._INLINE else "\n")

    def handle_endtag(self, tag: str) -> None:
        self._hidden = max(0, self._hidden - (tag in self._HIDDEN))
        self.parts.append(" " if tag in self._INLINE else "\n")

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self.parts.append(data)


def plain_text(content: bytes) -> str:
    """The text of bytes that say nothing of their encoding: by their mark, UTF-8, or Western."""
    if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return content.decode("utf-16", "replace")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", "replace")
