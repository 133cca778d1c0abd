"""The size of a JPEG, read from its header before a decoder sees it."""

from __future__ import annotations

_NO_SIZE = {0xC4, 0xC8, 0xCC}
"""Markers among JPEG's frame headers that are none."""


def jpeg_size(data: bytes | memoryview) -> tuple[int, int] | None:
    """Width and height in pixels; None for anything but an 8-bit grey or colour JPEG with both its ends."""
    if len(data) < 4 or bytes(data[:2]) != b"\xff\xd8" or bytes(data[-2:]) != b"\xff\xd9":
        return None
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in _NO_SIZE:
            bits, channels = data[at + 4], data[at + 9]
            height, width = (int.from_bytes(data[i : i + 2], "big") for i in (at + 5, at + 7))
            return (width, height) if bits == 8 and channels in (1, 3) and width and height else None
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
