"""Each code that the protocol raises has its text, and the text is fit to be read by an artist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import vitruvian_protocol
from vitruvian_protocol.errors import ERRORS, ProtocolError, explain, info_of, short, text_of
from vitruvian_protocol.fields import from_plain, to_plain
from vitruvian_protocol.images import jpeg_size

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
    assert told.sentence == "The scene cannot be used: {problem}{got.__class__} %s {limit}"


def test_values_are_shown_on_one_short_line() -> None:
    assert short("a\nb\x07c") == "a b?c"
    assert len(short("x" * 1_000)) == 80
    error = ProtocolError("BAD_FIELD", "$.x", "is odd", got="y" * 1_000, limit=3)
    assert len(str(error)) < 200
    assert info_of(error).limit == "3"


def test_sizes_of_images_are_read_from_their_headers() -> None:
    frame = bytes.fromhex("ffc0000b080010002001012200")
    start, end, comment = b"\xff\xd8", b"\xff\xd9", b"\xff\xfe\0\x05abc"
    assert jpeg_size(start + comment + frame + end) == (32, 16)
    assert jpeg_size(start + comment + frame) is None, "76: cut"
    assert jpeg_size(start + frame.replace(b"\x08", b"\x10", 1) + end) is None, "78: 16 bits"
    cmyk = bytes.fromhex("ffc000140800100020040111000211010311010411 01".replace(" ", ""))
    assert jpeg_size(start + cmyk + end) is None, "78: CMYK"
    huge = frame.replace(bytes.fromhex("00100020"), bytes.fromhex("ea60ea60"))
    assert jpeg_size(start + huge + end) == (60_000, 60_000), "75: claims 60,000"
    assert jpeg_size(b"<html>" + start + frame + end) is None, "77: something else in front"
    assert jpeg_size(start + end) is None
    assert jpeg_size(b"") is None
