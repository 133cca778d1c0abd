"""Arrays and bytes outside of headers: how they are described, and what is checked before any is made."""

from __future__ import annotations

import math
import zlib
from dataclasses import dataclass
from typing import Annotated, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from . import limits
from .errors import ProtocolError
from .fields import Items, Text, Whole, from_plain

DTYPES = {"f4": "<f4", "i4": "<i4", "u1": "|u1", "f2": "<f2"}
"""Types that may travel, all little-endian; nothing from outside is ever given to `np.dtype`."""
_ITEMSIZE = {"f4": 4, "i4": 4, "u1": 1, "f2": 2}


@dataclass(frozen=True)
class Buffer:
    """One checked entry of a header's `bufs`."""

    name: Annotated[str, Text(64, may_be_empty=False)]
    dtype: Literal["f4", "i4", "u1", "f2"]
    shape: Annotated[tuple[int, ...], Items(Whole(0, 2**31 - 1), 4)]
    nbytes: Annotated[int, Whole(0, limits.SCENE_BYTES)]
    crc32: Annotated[int, Whole(0, 2**32 - 1)] | None = None
    """None where a hash of the whole file covers the bytes."""


def describe(
    name: str,
    data: memoryview,
    dtype: str = "u1",
    shape: tuple[int, ...] | None = None,
    checksum: bool = True,
) -> dict[str, Any]:
    """The entry of `bufs` for contiguous bytes; without `shape` they are one row of bytes."""
    sides = [data.nbytes] if shape is None else list(shape)
    entry: dict[str, Any] = {"name": name, "dtype": dtype, "shape": sides, "nbytes": data.nbytes}
    if checksum:
        entry["crc32"] = zlib.crc32(data)
    return entry


def read_entries(
    plain: object, code: str, path: str, most: int, most_bytes: int, covered: bool = False
) -> tuple[Buffer, ...]:
    """The header's `bufs`, checked in Python's own integers, which do not overflow.

    Args:
        code: of the error that is raised.
        covered: whether checksums may be missing.
        most: entries allowed.
        most_bytes: bytes of all of them together.

    Raises:
        ProtocolError: `code` with the entry's path.
    """
    if not isinstance(plain, list):
        raise ProtocolError(code, path, "is not a list", type(plain).__name__)
    entries = cast(list[Any], plain)
    if len(entries) > most:
        raise ProtocolError(code, path, "has too many buffers", len(entries), most)
    buffers = tuple(_read_entry(entry, code, f"{path}[{i}]", covered) for i, entry in enumerate(entries))
    names = [buffer.name for buffer in buffers]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise ProtocolError(code, f"{path}[{i}].name", "appears twice", name)
    total = sum(buffer.nbytes for buffer in buffers)
    if total > most_bytes:
        raise ProtocolError("TOO_LARGE", path, "has too many bytes", total, most_bytes)
    return buffers


def _read_entry(plain: object, code: str, path: str, covered: bool) -> Buffer:
    try:
        entry: Buffer = from_plain(Buffer, plain, path)
    except ProtocolError as error:
        raise ProtocolError(code, error.path, error.problem, error.got, error.limit) from None
    wanted = math.prod(entry.shape) * _ITEMSIZE[entry.dtype]
    if wanted != entry.nbytes:
        problem = f"is not the {wanted} that shape and type make"
        raise ProtocolError(code, f"{path}.nbytes", problem, entry.nbytes)
    if entry.crc32 is None and not covered:
        raise ProtocolError(code, f"{path}.crc32", "is missing")
    return entry


def check_bytes(buffer: Buffer, data: memoryview, code: str, path: str) -> None:
    """Raises `ProtocolError` unless `data` has the length and the checksum that `buffer` tells."""
    if data.nbytes != buffer.nbytes:
        raise ProtocolError(
            code, f"{path}.nbytes", f"is not the {data.nbytes} bytes that came", buffer.nbytes
        )
    if buffer.crc32 is not None and zlib.crc32(data) != buffer.crc32:
        raise ProtocolError(code, f"{path}.crc32", "does not match the bytes")


def as_array(buffer: Buffer, data: memoryview) -> NDArray[Any]:
    """A read-only view on bytes that `check_bytes` has passed; no copy."""
    array: NDArray[Any] = np.frombuffer(data, dtype=DTYPES[buffer.dtype]).reshape(buffer.shape)
    array.flags.writeable = False
    return array
