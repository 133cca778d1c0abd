"""Vitruvian: textured humans from a proxy body, a camera rig and a prompt.

    import vitruvian

    avatar = vitruvian.generate("a man in a grey suit", out="out/suit")

`generate` is imported when it is first used: `import vitruvian` itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vitruvian.generation import generate as generate

__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    if name == "generate":
        from vitruvian.generation import generate

        return generate
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
