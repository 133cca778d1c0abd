"""How much of a job is on the graphics card at once: chunks that fit, and networks that come and go."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn

from vitruvian.core.errors import UserError
from vitruvian.diffusion.catalogue import VRAM_MODES, VramMode
from vitruvian.diffusion.chunks import ChunkSize
from vitruvian.diffusion.counting import (
    PriorKey,
    decode_cost,
    encode_cost,
    on_meta,
    step_cost,
    weight_bytes,
)
from vitruvian.diffusion.prior import Prior

DEFAULT_LIMIT = 12e9
"""Bytes on a card that a job takes by default, weights included, however many there are: larger chunks are no
quicker, and other programs want to draw."""
_OF_FREE = 0.85
"""Share of the free memory that is planned with."""
_COUNTED_TO_REAL = 1.25
"""What an allocator and the libraries' workspaces take beyond the tensors that are alive."""
_MOST_VIEWS = 16
_PROCESSOR_VIEWS = 8
"""On a processor, larger chunks were found to bring next to nothing (docs/performance.md)."""
_PROCESSOR_PICTURES = 2
"""Two pictures at once keep an autoencoder's largest layers in the cache: a fifth quicker than eight."""
TILE = 256
"""Side in pixels of the tiles of a picture that does not fit as a whole."""


@dataclass(frozen=True)
class MemoryPlan:
    """How much is worked on together."""

    mode: VramMode
    views: int
    """Painted together."""
    pictures: int
    """Decoded or encoded together."""
    tiled: bool
    """Whether pictures go through the autoencoder in tiles from the start."""

    def sizes(self) -> Sizes:
        """Chunks as planned, which shrink where the plan was too bold."""
        pictures = ChunkSize("pictures decoded or encoded together", self.pictures, TILE)
        pictures.tiled = self.tiled
        return Sizes(ChunkSize("views painted together", self.views), pictures)


@dataclass(frozen=True)
class Sizes:
    """How much one job works on together by now."""

    views: ChunkSize
    pictures: ChunkSize

    @property
    def notes(self) -> list[str]:
        """What had to shrink."""
        return [*self.views.notes, *self.pictures.notes]

    def describe(self) -> dict[str, int | None]:
        """For the report."""
        return {
            "views_together": self.views.size,
            "pictures_together": self.pictures.size,
            "tile": self.pictures.tile,
        }


def plan_memory(
    prior: Prior, mode: VramMode, views: int, height: int, width: int, chunk: int | None = None
) -> MemoryPlan:
    """Chunks for `views` pictures of this size: counted, so that they fit what is free.

    Args:
        chunk: views painted together, where somebody knows better.

    Raises:
        UserError: an unknown mode.
    """
    if mode not in VRAM_MODES:
        raise UserError("memory", mode, "is unknown", f"Use one of {', '.join(VRAM_MODES)}")
    if mode != "auto":
        return MemoryPlan(mode, chunk or 1, 1, max(height, width) > TILE and prior.device.type != "cpu")
    if prior.device.type == "cpu":
        return MemoryPlan(mode, chunk or evenly(views, _PROCESSOR_VIEWS), _PROCESSOR_PICTURES, False)
    view, picture = _bytes_each(PriorKey(prior), height, width)
    room = room_for_work(prior) / _COUNTED_TO_REAL
    return MemoryPlan(
        mode,
        chunk or evenly(views, min(max(int(room // view), 1), _MOST_VIEWS)),
        min(max(int(room // picture), 1), _MOST_VIEWS),
        tiled=picture > room,
    )


def evenly(count: int, most: int) -> int:
    """The chunk size of at most `most` that cuts `count` into as few, and then as equal, chunks as can be."""
    chunks = -(-count // most)
    return -(-count // chunks)


def room_for_work(prior: Prior) -> float:
    """Bytes of the card that a job may use beside the networks, which are there already."""
    left = max(DEFAULT_LIMIT - weight_bytes(*chain(*parts_of(prior).values())), 1e9)
    if prior.device.type != "cuda":
        return left
    free, _ = torch.cuda.mem_get_info(prior.device)
    held = torch.cuda.memory_reserved(prior.device) - torch.cuda.memory_allocated(prior.device)
    return min(_OF_FREE * (free + held), left)


def parts_of(prior: Prior) -> dict[str, list[nn.Module]]:
    """The networks that come and go together, by name."""
    encoders = [prior.text_encoder, prior.text_encoder_2, prior.style and prior.style.image_encoder]
    parts = {"text": [e for e in encoders if e is not None], "unet": [prior.unet], "vae": [prior.vae]}
    for name, controlnet in {id(c): (n, c) for n, c in prior.controlnets.items()}.values():
        parts[f"controlnet {name}"] = [controlnet]
    if prior.tiny_vae is not None:
        parts["tiny"] = [prior.tiny_vae]
    return parts


@contextmanager
def resident(prior: Prior, mode: VramMode) -> Iterator[Residence]:
    """Within, networks are on the prior's device as `mode` says: always, or only while they work.

    "low": encoders of text and the autoencoder come and go; "offload": every network does. Afterwards those
    that come and go are in the computer's memory, where the next job finds them; a job in another mode
    brings them back.
    """
    parts = parts_of(prior)
    passing = {"auto": (), "low": ("text", "vae"), "offload": tuple(n for n in parts if n != "tiny")}[mode]
    for name, modules in parts.items():
        if name not in passing:
            for module in modules:
                if any(weight.device.type != prior.device.type for weight in module.parameters()):
                    module.to(prior.device)
    residence = Residence({name: parts[name] for name in passing}, prior.device)
    try:
        yield residence
    finally:
        residence.leave()


class Residence:
    """Networks of which one at a time is on a card. Whichever is called comes, and the one before goes.

    Weights do not change, so going is forgetting: the originals stay in the computer's memory.

    Args:
        parts: networks that come and go together, by name.
        card: where they work.
        send: how a weight gets there.
    """

    def __init__(
        self,
        parts: Mapping[str, list[nn.Module]],
        card: torch.device,
        send: Callable[[Tensor], Tensor] | None = None,
    ) -> None:
        self._card = card
        self._send = send or (lambda weight: weight.to(card, non_blocking=True))
        self._home: dict[str, list[tuple[Tensor, Tensor]]] = {
            name: [(t, t.data.cpu()) for m in modules for t in chain(m.parameters(), m.buffers())]
            for name, modules in parts.items()
        }
        self._present: str | None = None
        self._handles: list[Any] = []
        for name, modules in parts.items():
            self._go(name)
            # Children too: an autoencoder's encoder and a ControlNet's embedding are called past the whole.
            for module in chain.from_iterable((m, *m.children()) for m in modules):
                hook = _arrival(self, name)
                self._handles.append(module.register_forward_pre_hook(hook))

    def sent(self, given: Tensor) -> Tensor:
        """What a network is given, on the card."""
        return given.to(self._card)

    @property
    def present(self) -> str | None:
        """The part that is on the card."""
        return self._present

    def come(self, name: str) -> None:
        """Bring one part to the card; the one that is there goes."""
        if name == self._present:
            return
        if self._present is not None:
            self._go(self._present)
        for tensor, home in self._home[name]:
            tensor.data = self._send(home)
        self._present = name

    def leave(self) -> None:
        """Everything goes, and calls bring nothing any more."""
        for handle in self._handles:
            handle.remove()
        if self._present is not None:
            self._go(self._present)

    def _go(self, name: str) -> None:
        for tensor, home in self._home[name]:
            tensor.data = home
        self._present = None


def _arrival(residence: Residence, name: str) -> Callable[[nn.Module, tuple[Any, ...]], tuple[Any, ...]]:
    """A hook that brings a part before it works, and with it what it was given before it was there."""

    def before(module: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        del module
        residence.come(name)
        return tuple(residence.sent(x) if isinstance(x, Tensor) else x for x in given)

    return before


@lru_cache(maxsize=16)
def _bytes_each(key: PriorKey, height: int, width: int) -> tuple[int, int]:
    """Bytes alive at once for one more view that is painted, and for one picture in the autoencoder."""
    ghost = on_meta(key.prior)
    one, two = (step_cost(ghost, height, width, views) for views in (1, 2))
    picture = max(decode_cost(ghost, height, width).bytes, encode_cost(ghost, height, width).bytes)
    return two.bytes - one.bytes, picture
