"""Malformed settings by name: what is changed, and the field that the refusal names."""

from __future__ import annotations

from typing import Any

BAD_SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "71 empty": ({"prompt": ""}, "prompt"),
    "71 blank": ({"prompt": "  "}, "prompt"),
    "71 2,001 characters": ({"prompt": "x" * 2_001}, "prompt"),
    "71 turned writing": ({"prompt": "a \u202e man"}, "prompt"),
    "71 two lines": ({"prompt": "a\nman"}, "prompt"),
    "71 surrogate": ({"prompt": "a \ud800"}, "prompt"),
    "71 negative": ({"negative": "x" * 2_001}, "negative"),
    "72 method is a path": ({"method": "../x"}, "method"),
    "prior is a path": ({"prior": "/etc"}, "prior"),
    "no prior": ({"prior": ""}, "prior"),
    "73 seed -1": ({"seed": -1}, "seed"),
    "73 seed 2^64": ({"seed": 2**64}, "seed"),
    "73 seed is a fraction": ({"seed": 1.5}, "seed"),
    "74 no steps": ({"steps": 0}, "steps"),
    "74 1e9 steps": ({"steps": 10**9}, "steps"),
    "74 true steps": ({"steps": True}, "steps"),
    "texture of 100": ({"texture_size": 100}, "texture_size"),
    "texture of 1001": ({"texture_size": 1001}, "texture_size"),
    "size of 64": ({"size": 64}, "size"),
    "guidance 0": ({"guidance": 0.0}, "guidance"),
    "guidance NaN": ({"guidance": float("nan")}, "guidance"),
    "guidance is true": ({"guidance": True}, "guidance"),
    "reference is 1": ({"reference": 1}, "reference"),
}
