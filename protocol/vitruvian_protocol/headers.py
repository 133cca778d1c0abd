"""Headers: one msgpack map each, read with every door of msgpack shut."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import msgpack  # pyright: ignore[reportMissingTypeStubs]

from . import limits
from .errors import ProtocolError

_PLAIN = (str, int, float, bool, type(None))


_pack: Callable[..., bytes] = msgpack.packb  # pyright: ignore
_unpack: Callable[..., Any] = msgpack.unpackb  # pyright: ignore


def pack_header(plain: dict[str, Any], longest: int = limits.HEADER_BYTES) -> bytes:
    """Raises `ProtocolError` TOO_LARGE for a header that the other side would refuse."""
    packed = _pack(plain)
    if len(packed) > longest:
        raise ProtocolError("TOO_LARGE", "$", "makes a header of too many bytes", len(packed), longest)
    return packed


def read_header(data: memoryview, code: str, longest: int = limits.HEADER_BYTES) -> dict[str, Any]:
    """The map in `data`: text keys, no key twice, no extension or binary type, nothing behind it.

    msgpack bounds every length by that of its input, so that capping `data` first caps the memory
    (64 KiB of empty maps take about 5 MB).

    Raises:
        ProtocolError: `code`, for anything else.
    """
    if not 0 < data.nbytes <= longest:
        raise ProtocolError(code, "$", "has a header of a wrong size", data.nbytes, longest)
    try:
        plain: object = _unpack(
            data, raw=False, strict_map_key=True, ext_hook=_no_extension, object_pairs_hook=_no_key_twice
        )
    except ProtocolError as error:
        raise ProtocolError(code, "$", error.problem, error.got) from None
    except (Exception, RecursionError) as error:
        # msgpack raises many kinds, ValueError and UnicodeDecodeError the usual ones.
        raise ProtocolError(code, "$", "has a header that cannot be read", type(error).__name__) from None
    if not isinstance(plain, dict):
        raise ProtocolError(code, "$", "has a header that is not a map", type(plain).__name__)
    _check_plain(cast(object, plain), code)
    return cast(dict[str, Any], plain)


def _no_extension(kind: int, data: bytes) -> None:
    raise ProtocolError("BAD_FRAME", "$", "has an extension type", kind)


def _no_key_twice(pairs: list[tuple[Any, Any]]) -> dict[str, Any]:
    plain = dict(pairs)
    if len(plain) != len(pairs):
        raise ProtocolError("BAD_FRAME", "$", "has a key twice")
    return plain


def _check_plain(plain: object, code: str) -> None:
    """Refuses depth, and what msgpack makes without asking a hook: bytes, and its own timestamps."""
    level: list[Any] = [plain]
    for _ in range(limits.HEADER_DEPTH):
        below: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                items = cast(dict[Any, Any], value)
                if not all(isinstance(key, str) for key in items):
                    raise ProtocolError(code, "$", "has a key that is not text")
                below.extend(items.values())
            elif isinstance(value, list):
                below.extend(cast(list[Any], value))
            elif not isinstance(value, _PLAIN):
                raise ProtocolError(code, "$", "has a type that no header may have", type(value).__name__)
        level = below
        if not level:
            return
    raise ProtocolError(code, "$", "is nested too deep", None, limits.HEADER_DEPTH)
