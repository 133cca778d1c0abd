"""Which methods and image models a server offers, and what is taken where the artist chose none. No bpy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .problems import Problem

WORDS = {"method": "method", "prior": "image model"}
"""What can be chosen by name, as the panel calls it."""


def offered(server: Mapping[str, Any], field: str) -> tuple[str, ...]:
    """Names that the server said it has, its first choice first; empty as long as it has said nothing."""
    told = server.get(f"{field}s")
    return tuple(name for name in told if isinstance(name, str)) if isinstance(told, list | tuple) else ()


def chosen(server: Mapping[str, Any], field: str, wanted: str, otherwise: str) -> str:
    """What travels: the artist's choice, else the server's first, else `otherwise`."""
    return wanted or next(iter(offered(server, field)), otherwise)


def problem_of(server: Mapping[str, Any], field: str, name: str) -> Problem | None:
    """What to tell where the server is known not to have it."""
    names = offered(server, field)
    if not names or not name or name in names:
        return None
    sentence = f'This server does not offer the {WORDS[field]} "{name}"'
    return Problem("BAD_SETTINGS", sentence, f"Choose another one under Quality: {', '.join(names)}")
