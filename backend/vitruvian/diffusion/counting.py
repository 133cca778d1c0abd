"""What a prior costs, counted and not measured: operations and bytes of each network, for one picture.

The very code of sampling runs on the meta device, where tensors have shapes and no contents; torch counts its
matrix products and convolutions, and here the tensors that are alive at once are added up.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from itertools import chain
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from vitruvian.diffusion.consistency import ConsistencySettings, every_n_within
from vitruvian.diffusion.denoiser import NoiseLevel, make_denoiser
from vitruvian.diffusion.latents import decode, encode, latent_shape
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.text import text_length
from vitruvian.diffusion.text_states import TextStates

META = torch.device("meta")


@dataclass(frozen=True)
class Cost:
    """Of one call for one picture."""

    operations: float
    """Multiplications and additions of products and convolutions."""
    bytes: int
    """The most that is alive at once besides the weights."""


@dataclass(frozen=True)
class PriorCost:
    """Of every network of a prior, for one picture of one size."""

    unet: Cost
    """With one text."""
    controlnets: Mapping[str, Cost]
    """Each with one text, the embedding of its condition left out."""
    step: Cost
    """A sampling step with both halves of guidance."""
    decode: Cost
    encode: Cost
    tiny_decode: Cost | None
    tiny_encode: Cost | None

    def guided(self, cancel_round_trip: bool, tiny: bool = False) -> float:
        """Operations of bringing the views together once, a view."""
        there, back = (self.tiny_decode, self.tiny_encode) if tiny else (self.decode, self.encode)
        if there is None or back is None:
            return self.guided(cancel_round_trip)
        return there.operations + back.operations * (2 if cancel_round_trip else 1)


def count(prior: Prior, height: int | None = None, width: int | None = None) -> PriorCost:
    """Operations and bytes of a prior's networks (for its own image size where none is given)."""
    ghost = on_meta(prior)
    size = height or prior.image_size, width or prior.image_size
    alone = step_cost(ghost, *size, texts=1, conditions=())
    names = {id(net): name for name, net in ghost.controlnets.items()}.values()
    tiny = ghost.tiny_vae is not None

    def control(name: str) -> Cost:
        return _less(step_cost(ghost, *size, texts=1, conditions=(name,)), alone)

    return PriorCost(
        unet=alone,
        controlnets={name: control(name) for name in names},
        step=step_cost(ghost, *size),
        decode=decode_cost(ghost, *size),
        encode=encode_cost(ghost, *size),
        tiny_decode=decode_cost(ghost, *size, tiny=True) if tiny else None,
        tiny_encode=encode_cost(ghost, *size, tiny=True) if tiny else None,
    )


def step_cost(
    ghost: Prior,
    height: int,
    width: int,
    views: int = 1,
    texts: int = 2,
    conditions: Sequence[str] | None = None,
) -> Cost:
    """One evaluation of the denoiser; None as `conditions` takes all that there are ControlNets for."""
    names = ghost.controlnets if conditions is None else conditions
    picture = torch.zeros(views, 3, height, width, device=META)
    denoise = make_denoiser(ghost, dict.fromkeys(names, picture), {})
    latents = torch.zeros((views, *latent_shape(ghost, height, width)), device=META)
    text, level = blank_text(ghost, texts, views), NoiseLevel(500.0, 0.6, 0.8, 0, 2)
    return cost_of(lambda: denoise(latents, level, text, range(views)))


def decode_cost(ghost: Prior, height: int, width: int, tiny: bool = False) -> Cost:
    """One picture out of its latents, in full precision."""
    latents = torch.zeros((1, *latent_shape(ghost, height, width)), device=META)
    return cost_of(lambda: decode(ghost, latents, tiny=tiny))


def encode_cost(ghost: Prior, height: int, width: int, tiny: bool = False) -> Cost:
    """One picture into latents, in full precision."""
    picture = torch.zeros(1, 3, height, width, device=META)
    return cost_of(lambda: encode(ghost, picture, tiny=tiny))


def affordable_every_n(prior: Prior, settings: ConsistencySettings, steps: int, texts: int) -> int:
    """How often views can be brought together through the whole autoencoder for a quarter of the cost.

    1 where every step can be guided; counted for the prior's own image size.
    """
    step, guided = _step_and_guided(PriorKey(prior), texts, settings.cancel_round_trip is not False)
    return every_n_within(settings, steps, step, guided)


def suited_consistency(
    settings: ConsistencySettings, prior: Prior, steps: int, texts: int
) -> ConsistencySettings:
    """The settings with what they leave open filled in as it suits the prior.

    Args:
        texts: texts a view that a step evaluates; 2 under guidance.
    """
    if settings.cancel_round_trip is None:
        settings = replace(settings, cancel_round_trip=not prior.card)
    if settings.tiny is None:
        settings = replace(settings, tiny=prior.tiny_vae is not None and bool(settings.cancel_round_trip))
    if settings.every_n is None:
        quick = settings.tiny or bool(prior.card)
        every_n = 1 if quick else affordable_every_n(prior, settings, steps, texts)
        settings = replace(settings, every_n=every_n)
    return settings


def cost_of(call: Callable[[], object]) -> Cost:
    """What `call` costs on the meta device."""
    counter, alive = FlopCounterMode(display=False), _Alive()
    with counter:
        call()
    with _FusedAttention(), alive:
        call()
    return Cost(float(counter.get_total_flops()), alive.peak)


def on_meta(prior: Prior) -> Prior:
    """The same networks without their weights' contents: shapes only, so they compute shapes only."""
    changes: dict[str, Any] = {"device": META}
    for field in fields(prior):
        value = getattr(prior, field.name)
        if isinstance(value, nn.Module):
            changes[field.name] = _module_on_meta(value)
        elif isinstance(value, Mapping) and value and all(isinstance(v, nn.Module) for v in value.values()):
            changes[field.name] = {name: _module_on_meta(module) for name, module in value.items()}
    return replace(prior, **changes)


def blank_text(prior: Prior, texts: int, views: int = 1) -> TextStates:
    """Encoded prompts of the right shapes, on the prior's device."""
    config = prior.unet.config
    shape = (texts, views, text_length(prior), int(config.cross_attention_dim))
    states = torch.zeros(shape, device=prior.device)
    pooled, picture = None, None
    if config.addition_embed_type == "text_time":
        # Six numbers of SDXL's sizes go into the same vector as the pooled text.
        width = int(config.projection_class_embeddings_input_dim) - 6 * int(config.addition_time_embed_dim)
        pooled = torch.zeros(texts, views, width, device=prior.device)
    if prior.style is not None:
        picture = torch.zeros(texts, views, *prior.style.blank.shape, device=prior.device)
    return TextStates(states, pooled, picture)


def weight_bytes(*modules: nn.Module) -> int:
    """Bytes of the weights and buffers of networks."""
    tensors = {
        id(t): t.numel() * t.element_size() for m in modules for t in chain(m.parameters(), m.buffers())
    }
    return sum(tensors.values())


def _module_on_meta(module: nn.Module) -> nn.Module:
    """A copy that never holds a weight: what is copied is told beforehand what becomes of each."""
    memo: dict[int, Any] = {
        id(p): nn.Parameter(torch.empty_like(p, device=META), requires_grad=False)
        for p in module.parameters()
    }
    memo |= {id(b): torch.empty_like(b, device=META) for b in module.buffers()}
    return copy.deepcopy(module, memo)


class PriorKey:
    """A prior as a key of what was counted: networks of equal files, in equal precision, cost the same."""

    def __init__(self, prior: Prior) -> None:
        self.prior = prior
        self._key = (prior.name, prior.hash, prior.dtype)

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PriorKey) and self._key == other._key


@lru_cache(maxsize=16)
def _step_and_guided(key: PriorKey, texts: int, cancel_round_trip: bool) -> tuple[float, float]:
    """Operations of a sampling step and of bringing the views together once, a view."""
    ghost, side = on_meta(key.prior), key.prior.image_size
    back = encode_cost(ghost, side, side).operations * (2 if cancel_round_trip else 1)
    return step_cost(ghost, side, side, texts=texts).operations, decode_cost(
        ghost, side, side
    ).operations + back


def _less(whole: Cost, part: Cost) -> Cost:
    return Cost(whole.operations - part.operations, max(whole.bytes - part.bytes, 0))


class _Alive(TorchDispatchMode):
    """Adds up the bytes of the tensors that were made inside and are still alive."""

    def __init__(self) -> None:
        super().__init__()
        self.peak = 0
        self._alive: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        self._alive = {key: entry for key, entry in self._alive.items() if not entry[0].expired()}
        given = {t.untyped_storage()._cdata for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        for tensor in tree_leaves(out):
            if isinstance(tensor, Tensor):
                storage = tensor.untyped_storage()
                if storage._cdata not in given:  # a view of what it was given, or a weight, is nothing new
                    self._alive[storage._cdata] = (StorageWeakRef(storage), storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self._alive.values()))
        return out


class _FusedAttention(TorchFunctionMode):
    """Attention as the fused kernels of real devices do it, which never hold the matrix of all pairs."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func is not torch.nn.functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        named = dict(zip(("query", "key", "value"), args, strict=False)) | kwargs
        return named["query"].new_empty((*named["query"].shape[:-1], named["value"].shape[-1]))
