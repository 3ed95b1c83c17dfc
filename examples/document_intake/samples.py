"""Files to try the intake with: documents in every form that is taken, and what is none.

The documents follow the held-out templates, which training never saw. All are MADE UP.
"""

from __future__ import annotations

import random
import struct
import sys
import zipfile
import zlib
from html import escape
from io import BytesIO
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFilter, ImageFont

from document_intake import corpus

SEED: Final = 41


class Sample(NamedTuple):
    """A file, and the kind that its text is; None where it is no document."""

    name: str
    content: bytes
    kind: str | None


def texts() -> dict[str, str]:
    """One text of each held-out template, by the template's name."""
    draw = random.Random(SEED)  # noqa: S311 - made-up texts, not secrets
    _, held_out = corpus.split(corpus.templates())
    return {one.name: corpus.filled(one, draw) for one in held_out}


def documents() -> list[Sample]:
    """Readable documents, two or three of each kind, in all forms."""
    forms = {
        "pdf": pdf, "png": scan, "docx": docx, "txt": str.encode, "html": html, "jpg": photograph,
    }  # fmt: skip
    found: list[Sample] = []
    for number, (name, text) in enumerate(texts().items()):
        form = list(forms)[number % len(forms)]
        kind = name.split()[0]
        found.append(Sample(f"{name.replace(' ', '-')}.{form}", forms[form](text), kind))
    return found


def oddities() -> list[Sample]:
    """What is no document, or is not what it says; each must get an answer, and none may crash."""
    text = next(text for name, text in texts().items() if name.startswith("invoice"))
    png = scan(text)
    return [
        Sample("invoice.pdf", program(), None),
        Sample("empty.pdf", b"", None),
        Sample("corrupt.png", png[: len(png) // 3], None),
        Sample("broken.pdf", pdf(text)[:200], None),
        Sample("bomb.png", bomb(), None),
        Sample("bomb.docx", packed_bomb(), None),
        Sample("blank.png", page("").tobytes_png(), None),
        Sample("huge.txt", b"All work and no play. " * (20_000_000 // 22), None),
        Sample("renamed.png", pdf(f"{text}\nCopy for the archive"), "invoice"),
        Sample("scanned.pdf", scanned_pdf(text), "invoice"),
    ]


class Page(NamedTuple):
    """A page of paper, as a camera sees it."""

    picture: Image.Image

    def tobytes_png(self) -> bytes:
        """As a PNG file."""
        return _saved(self.picture, "PNG")


def page(text: str) -> Page:
    """Black letters on white paper, 110 dots an inch."""
    picture = Image.new("L", (960, 1200), 255)
    font = ImageFont.load_default(22)
    wrapped = "\n".join(_wrapped(line, 80) for line in text.splitlines())
    ImageDraw.Draw(picture).multiline_text((50, 60), wrapped, fill=25, font=font, spacing=12)
    return Page(picture)


def scan(text: str, degrees: float = 1.5, noise: float = 18.0) -> bytes:
    """A PNG of a page that was laid askew on a dusty glass."""
    return _saved(_worn(page(text).picture, degrees, noise), "PNG")


def photograph(text: str) -> bytes:
    """A JPEG, more askew and less sharp."""
    return _saved(_worn(page(text).picture, -3.0, 26.0), "JPEG", quality=70)


def scanned_pdf(text: str) -> bytes:
    """A PDF that is nothing but a picture of the page."""
    return _saved(_worn(page(text).picture, 0.8, 12.0), "PDF")


def _worn(picture: Image.Image, degrees: float, noise: float) -> Image.Image:
    turned = picture.rotate(degrees, resample=Image.Resampling.BICUBIC, fillcolor=255)
    dust = np.random.default_rng(SEED).normal(0, noise, (turned.height, turned.width))
    dusty = (np.asarray(turned, float) + dust).clip(0, 255).astype(np.uint8)
    return Image.fromarray(dusty).filter(ImageFilter.GaussianBlur(0.6))


def _saved(picture: Image.Image, form: str, **options: int) -> bytes:
    written = BytesIO()
    picture.save(written, form, **options)
    return written.getvalue()


def _wrapped(line: str, width: int) -> str:
    cut = line.rfind(" ", 0, width) if len(line) > width else -1
    return line if cut < 1 else f"{line[:cut]}\n{_wrapped(line[cut + 1 :], width)}"


def pdf(text: str) -> bytes:
    """A PDF of one page with a text layer, by hand: six objects and a table of where they are."""
    lines = "\n".join(_wrapped(line, 90) for line in text.splitlines()).splitlines()
    shown = "".join(f"({_escaped(line)}) Tj T*\n" for line in lines)
    stream = f"BT /F1 11 Tf 14 TL 50 780 Td\n{shown}ET".encode("cp1252", "replace")
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 5 0 R "
        b"/Resources << /Font << /F1 4 0 R >> >> >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        b"<< /Length %d >>\nstream\n%b\nendstream" % (len(stream), stream),
    ]
    written, places = b"%PDF-1.4\n", list[int]()
    for number, content in enumerate(objects, 1):
        places.append(len(written))
        written += b"%d 0 obj\n%b\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return written + (
        b"xref\n0 6\n0000000000 65535 f \n%btrailer\n<< /Size 6 /Root 1 0 R >>\n"
        b"startxref\n%d\n%%%%EOF\n" % (table, len(written))
    )


def _escaped(line: str) -> str:
    return line.replace("\\", "\\\\").replace("(", "\\(").replace(")", "\\)")


def docx(text: str) -> bytes:
    """A Word file with a paragraph for each line."""
    space = "http://schemas.openxmlformats.org"
    body = "".join(
        f'<w:p><w:r><w:t xml:space="preserve">{escape(line)}</w:t></w:r></w:p>'
        for line in text.splitlines()
    )
    return _word_file(
        f'<w:document xmlns:w="{space}/wordprocessingml/2006/main"><w:body>{body}</w:body>'
        "</w:document>"
    )


def _word_file(document: str) -> bytes:
    space, head = "http://schemas.openxmlformats.org", '<?xml version="1.0" encoding="UTF-8"?>'
    word = "application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml"
    files = {
        "[Content_Types].xml": f'{head}<Types xmlns="{space}/package/2006/content-types">'
        '<Default Extension="rels" ContentType="application/'
        'vnd.openxmlformats-package.relationships+xml"/>'
        f'<Override PartName="/word/document.xml" ContentType="{word}"/></Types>',
        "_rels/.rels": f'{head}<Relationships xmlns="{space}/package/2006/relationships">'
        f'<Relationship Id="rId1" Type="{space}/officeDocument/2006/relationships/officeDocument" '
        'Target="word/document.xml"/></Relationships>',
        "word/document.xml": head + document,
    }
    written = BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in files.items():
            packed.writestr(name, content)
    return written.getvalue()


def html(text: str) -> bytes:
    """A web page with a paragraph for each line, and a script that is none of its text."""
    body = "\n".join(f"<p>{escape(line)}</p>" for line in text.splitlines())
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Document</title>'
        f"<script>let x = 1;</script></head>\n<body>\n{body}\n</body></html>"
    ).encode()


def program() -> bytes:
    """A program of this machine: the first megabyte of the Python that runs this."""
    return Path(sys.executable).resolve().read_bytes()[: 1 << 20]


def bomb(side: int = 20_000) -> bytes:
    """A PNG of 50 KB that unpacks to 20,000 x 20,000 pixels."""
    packer = zlib.compressobj(9)
    row = bytes(1 + side // 8)
    rows = b"".join(packer.compress(row * 1000) for _ in range(side // 1000)) + packer.flush()

    def chunk(name: bytes, content: bytes) -> bytes:
        check = struct.pack(">I", zlib.crc32(name + content))
        return struct.pack(">I", len(content)) + name + content + check

    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def packed_bomb() -> bytes:
    """A Word file of 60 KB with 60 MB of nothing in it."""
    space = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    return _word_file(f'<w:document xmlns:w="{space}">{" " * 60_000_000}</w:document>')
