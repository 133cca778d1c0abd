"""Each code that the protocol raises has its text, and the text is fit to be read by an artist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vitruvian_protocol
from vitruvian_protocol.errors import ERRORS, ProtocolError, explain, info_of, short, text_of
from vitruvian_protocol.fields import from_plain, to_plain
from vitruvian_protocol.images import jpeg_size, png_size

SOURCES = sorted(Path(vitruvian_protocol.__file__).parent.rglob("*.py"))


def test_every_code_in_the_sources_has_a_text() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in SOURCES)
    raised = set(re.findall(r'(?:ProtocolError|explain)\(\s*"([A-Z_:]+)"', text))
    assert len(raised) > 20
    assert raised <= set(ERRORS)


@pytest.mark.parametrize("code", ERRORS)
def test_texts_are_filled_in_and_end_without_a_full_stop(code: str) -> None:
    told = explain(code, "$.mesh", "is odd", got=7, limit=5)
    assert not re.search(r"[{}]", told.sentence + told.remedy)
    assert told.sentence[0].isupper()
    assert not told.sentence.endswith(".")
    assert told.remedy
    assert to_plain(told) == to_plain(from_plain(type(told), to_plain(told)))


def test_an_unknown_finer_name_has_the_text_of_its_family() -> None:
    assert text_of("BAD_SCENE:NEW") == ERRORS["BAD_SCENE"]
    assert text_of("FROM_THE_FUTURE") == ERRORS["INTERNAL"]


def test_what_comes_from_outside_is_no_template() -> None:
    told = explain("BAD_SCENE", path="{problem}{got.__class__}", problem="%s {limit}", got="{}")
    assert "{got.__class__}" in told.sentence
    assert "%s" in told.sentence


def test_values_are_shown_on_one_short_line() -> None:
    assert short("a\nb\x07c") == "a b?c"
    assert len(short("x" * 1_000)) == 80
    error = ProtocolError("BAD_FIELD", "$.x", "is odd", got="y" * 1_000, limit=3)
    assert len(str(error)) < 200
    assert info_of(error).limit == "3"


PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\0\0\0\x01\0\x08\x06\0\0\0"


def test_sizes_of_images_are_read_from_their_headers() -> None:
    assert png_size(PNG) == (512, 256)
    assert png_size(PNG.replace(b"\0\0\x02\0", b"\0\0\xea\x60")) == (60_000, 256), "75: claims 60,000"
    assert png_size(PNG[:20]) is None
    assert png_size(b"GIF89a" + PNG) is None
    frame = bytes.fromhex("ffc0000b080010002001012200")
    start, end, comment = b"\xff\xd8", b"\xff\xd9", b"\xff\xfe\0\x05abc"
    assert jpeg_size(start + comment + frame + end) == (32, 16)
    assert jpeg_size(start + comment + frame) is None, "76: cut"
    assert jpeg_size(start + frame.replace(b"\x08", b"\x10", 1) + end) is None, "78: 16 bits"
    cmyk = bytes.fromhex("ffc000140800100020040111000211010311010411 01".replace(" ", ""))
    assert jpeg_size(start + cmyk + end) is None, "78: CMYK"
    assert jpeg_size(b"<html>" + start + frame + end) is None, "77: something else in front"
    assert jpeg_size(start + end) is None
    assert jpeg_size(b"") is None
