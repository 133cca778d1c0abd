"""A prior recipe: a small JSON file that names a base model and what is put on it. docs/priors.md shows one.

A plain name is the recipe of that base with nothing on it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vitruvian.core.errors import UserError
from vitruvian.diffusion.parts import read_json
from vitruvian.diffusion.weights import ControlWeight

REMEDY = "See docs/priors.md for what a recipe may hold"


@dataclass(frozen=True)
class ControlSource:
    """One ControlNet for one condition."""

    model: str
    """A folder or hub id; the same one under several conditions is a union ControlNet, loaded once."""
    weight: ControlWeight | None = None
    """None takes what suits the family."""
    union_type: int | None = None
    """Place of the condition in a union ControlNet's list; None takes the usual one."""


@dataclass(frozen=True)
class LoraSource:
    """A change to the base's weights."""

    file: str
    """A .safetensors file; within `model` if that is given."""
    model: str | None = None
    """A folder or hub id."""
    weight: float = 1.0


@dataclass(frozen=True)
class AdapterSource:
    """An IP-Adapter: lets a picture say what the person looks like."""

    model: str | None = None
    """A folder or hub id; None takes the known one of the base's family."""
    file: str | None = None
    """Its weights within `model`; None takes the only .safetensors file."""
    image_encoder: str | None = None
    """Folder within `model`; None takes image_encoder beside the weights."""
    scale: float = 0.6
    """How strongly a picture counts where the job does not say it."""


@dataclass(frozen=True)
class Recipe:
    """What a prior is made of."""

    base: str
    """A known name, folder, hub id, or single .safetensors file in the original layout."""
    config: str | None = None
    """Folder or hub id in diffusers' layout that tells a single file's architecture; None finds it out."""
    controlnets: Mapping[str, ControlSource] = field(default_factory=dict)
    """By condition; empty takes the base's own."""
    loras: tuple[LoraSource, ...] = ()
    ip_adapter: AdapterSource | None = None
    clip_skip: int = 0
    """Last layers of the text encoders that are left out."""
    image_size: int | None = None
    """Pixels across a view; None takes what the base was trained on."""
    source: Path | None = None
    """The file that it was read from."""


def read_recipe(path: Path) -> Recipe:
    """The recipe of a .json file. Paths in it that are not absolute are meant from its own folder.

    Raises:
        UserError: not there, not JSON, an unknown key, or a value of the wrong kind.
    """
    if not path.is_file():
        raise UserError("prior", str(path), "is not there", "Check the path")
    given = _Given(str(path), "", read_json(path), path.parent)
    recipe = Recipe(
        base=given.place("base", needed=True) or "",
        config=given.place("config"),
        controlnets={
            name: _control(given.part(f"controlnets.{name}", value))
            for name, value in given.table("controlnets").items()
        },
        loras=tuple(
            _lora(given.part(f"loras[{i}]", value)) for i, value in enumerate(given.sequence("loras"))
        ),
        ip_adapter=_adapter(given.part("ip_adapter", given.values["ip_adapter"]))
        if "ip_adapter" in given.values
        else None,
        clip_skip=given.whole("clip_skip", 0, 12) or 0,
        image_size=given.whole("image_size", 64, 4096),
        source=path,
    )
    given.refuse_others("base", "config", "controlnets", "loras", "ip_adapter", "clip_skip", "image_size")
    return recipe


def _control(given: _Given) -> ControlSource:
    given = given.short_for("model")
    start, end = given.number("start", 0.0, 2.0), given.number("end", 0.0, 2.0)
    weight = None
    if start is not None or end is not None:
        first = 1.0 if start is None else start
        weight = ControlWeight(first, first if end is None else end)
    given.refuse_others("model", "start", "end", "type")
    return ControlSource(given.place("model", needed=True) or "", weight, given.whole("type", 0, 31))


def _lora(given: _Given) -> LoraSource:
    given = given.short_for("file")
    given.refuse_others("file", "model", "weight")
    weight = given.number("weight", -4.0, 4.0)
    model = given.place("model")
    file = given.text("file", needed=True) if model else given.place("file", needed=True)
    return LoraSource(file or "", model, 1.0 if weight is None else weight)


def _adapter(given: _Given) -> AdapterSource:
    given = given.short_for("model")
    given.refuse_others("model", "file", "image_encoder", "scale")
    scale = given.number("scale", 0.0, 2.0)
    return AdapterSource(
        given.place("model"),
        given.text("file"),
        given.text("image_encoder"),
        AdapterSource.scale if scale is None else scale,
    )


@dataclass(frozen=True)
class _Given:
    """One JSON object of a recipe, read key by key; errors name the file and the key."""

    file: str
    at: str
    values: Any
    folder: Path

    def part(self, at: str, values: Any) -> _Given:
        return _Given(self.file, at, values, self.folder)

    def short_for(self, key: str) -> _Given:
        """A bare text stands for an object with that one key."""
        values = {key: self.values} if isinstance(self.values, str) else self.values
        if not isinstance(values, dict):
            raise self.error("", values, "is neither a text nor an object")
        return _Given(self.file, self.at, values, self.folder)

    def error(self, key: str, value: Any, what: str) -> UserError:
        place = ".".join(part for part in (self.at, key) if part)
        return UserError(f"prior.{place}", value, f"{what} (in {self.file})", REMEDY)

    def text(self, key: str, needed: bool = False) -> str | None:
        value = self.values.get(key)
        if value is None and not needed:
            return None
        if not isinstance(value, str) or not value.strip():
            raise self.error(key, value, "is missing" if value is None else "is not a text")
        return value

    def place(self, key: str, needed: bool = False) -> str | None:
        """A text that may be a path: if something lies there seen from the recipe, that is meant."""
        value = self.text(key, needed)
        if value is None:
            return None
        beside = self.folder / Path(value).expanduser()
        return str(beside) if beside.exists() else value

    def number(self, key: str, low: float, high: float) -> float | None:
        value = self.values.get(key)
        if value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise self.error(key, value, "is not a number")
        if not low <= value <= high:
            raise self.error(key, value, f"is not between {low:g} and {high:g}")
        return float(value)

    def whole(self, key: str, low: int, high: int) -> int | None:
        value = self.number(key, low, high)
        if value is not None and value != int(value):
            raise self.error(key, value, "is not a whole number")
        return None if value is None else int(value)

    def table(self, key: str) -> Mapping[str, Any]:
        value = self.values.get(key, {})
        if not isinstance(value, dict):
            raise self.error(key, value, "is not an object")
        return value

    def sequence(self, key: str) -> list[Any]:
        value = self.values.get(key, [])
        if not isinstance(value, list):
            raise self.error(key, value, "is not a list")
        return value

    def refuse_others(self, *known: str) -> None:
        for key in self.values:
            if key not in known:
                raise self.error(key, self.values[key], f"is unknown; known are {', '.join(known)}")
