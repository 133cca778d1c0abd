"""The denoiser: noisy latents and a noise level in, predicted clean latents x0 out, whatever the model says.

Everything that shapes an image (guidance, reference attention, consistency, known pixels) is a wrapper from
denoiser to denoiser; samplers (sampling.py) know none of them.

Notation as in the papers: x_t = alpha_t x0 + sigma_t eps, with alpha_t^2 + sigma_t^2 = 1 for eps and v models
(DDPM, Ho et al. 2020; v: Salimans and Ho 2022) and alpha_t + sigma_t = 1 for flow matching (Lipman et al.
2023).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, assert_never

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.diffusion.chunks import ChunkSize, in_chunks
from vitruvian.diffusion.control import embed_controls
from vitruvian.diffusion.prior import Prediction, Prior
from vitruvian.diffusion.rows import rows_of
from vitruvian.diffusion.text_states import TextStates
from vitruvian.diffusion.weights import ControlWeight


@dataclass(frozen=True)
class NoiseLevel:
    """Where a sampler is: x_t = alpha x0 + sigma eps."""

    timestep: float
    """What the network is told, in training steps (0 = clean)."""
    alpha: float
    sigma: float
    step: int
    """Sampling step, from 0."""
    steps: int

    @property
    def progress(self) -> float:
        """0 at the first sampling step, 1 at the last."""
        return self.step / max(self.steps - 1, 1)


Denoiser = Callable[[Float[Tensor, "N C h w"], NoiseLevel], Float[Tensor, "N C h w"]]


class TextDenoiser(Protocol):
    """A denoiser that is still open in its text: K texts a view are evaluated in one batch."""

    def __call__(
        self,
        x_t: Float[Tensor, "N C h w"],
        level: NoiseLevel,
        text: TextStates,
        views: Sequence[int],
    ) -> Float[Tensor, "K N C h w"]:
        """`text` has the axes K, N. `views` says which of all views the N rows are, so that each meets its
        own conditions."""
        ...


def x0_from_prediction(
    prediction: Float[Tensor, "*S"], x_t: Float[Tensor, "*S"], level: NoiseLevel, kind: Prediction
) -> Float[Tensor, "*S"]:
    """The clean latents that a network's prediction stands for.

    Raises:
        ValueError: an eps-prediction at alpha = 0, where x_t is eps and says nothing about x0.
    """
    match kind:
        case "epsilon":
            if level.alpha == 0.0:
                raise ValueError("an eps-prediction says nothing about x0 at zero signal: use v-prediction")
            return (x_t - level.sigma * prediction) / level.alpha
        case "v_prediction":
            return level.alpha * x_t - level.sigma * prediction
        case "flow":
            return x_t - level.sigma * prediction
        case "sample":
            return prediction
        case _:
            assert_never(kind)


def prediction_from_x0(
    x0: Float[Tensor, "*S"], x_t: Float[Tensor, "*S"], level: NoiseLevel, kind: Prediction
) -> Float[Tensor, "*S"]:
    """The prediction that stands for `x0` (sigma > 0): MVHuman's consistency-guided noise and its twins.

    eps' = (x_t - alpha x0) / sigma;  v' = (alpha x_t - x0) / sigma;  flow: v' = (x_t - x0) / sigma.
    """
    match kind:
        case "epsilon":
            return (x_t - level.alpha * x0) / level.sigma
        case "v_prediction":
            return (level.alpha * x_t - x0) / level.sigma
        case "flow":
            return (x_t - x0) / level.sigma
        case "sample":
            return x0
        case _:
            assert_never(kind)


def make_denoiser(
    prior: Prior,
    conditions: Mapping[str, Float[Tensor, "N 3 H W"]],
    weights: Mapping[str, ControlWeight],
) -> TextDenoiser:
    """UNet and ControlNets of `prior` as one denoiser.

    Args:
        conditions: ControlNet images of all views, RGB in [0, 1], by the names of `prior.controlnets`.
            Conditions that the prior has no ControlNet for are left out.
        weights: strength by the same names; 1.0 throughout where a name is missing.
    """
    controls = embed_controls(
        prior.controlnets,
        {name: image.to(prior.device, prior.dtype) for name, image in conditions.items()},
        prior.union_types,
    )
    kind = prior.prediction

    @torch.no_grad()
    def denoise(x_t: Tensor, level: NoiseLevel, text: TextStates, views: Sequence[int]) -> Tensor:
        variants, rows = text.states.shape[:2]
        sample = x_t.repeat(variants, 1, 1, 1).to(prior.dtype, memory_format=torch.channels_last)
        told = text.flatten().each(lambda part: part.to(prior.dtype))
        about = _sizes_and_pooled(told, x_t.shape[-2] * prior.factor, x_t.shape[-1] * prior.factor)
        time = torch.full((len(sample),), level.timestep, device=prior.device)
        down, mid = None, None
        for names, control in controls:
            strengths = [weights.get(name, ControlWeight(1.0, 1.0)).at(level.progress) for name in names]
            if not any(strengths):
                continue
            more = {"added_cond_kwargs": about} if about else {}
            more_down, more_mid = control(sample, time, told.states, views, strengths, **more)
            down = more_down if down is None else [a + b for a, b in zip(down, more_down, strict=True)]
            mid = more_mid if mid is None else mid + more_mid
        prediction = prior.unet(
            sample,
            time,
            told.states,
            down_block_additional_residuals=down,
            mid_block_additional_residual=mid,
            added_cond_kwargs={**about, **_picture(told)} or None,
            return_dict=False,
        )[0]
        prediction = prediction.to(x_t.dtype).unflatten(0, (variants, rows))
        return x0_from_prediction(prediction, x_t.expand_as(prediction), level, kind)

    return denoise


def _sizes_and_pooled(text: TextStates, height: int, width: int) -> dict[str, Tensor]:
    """What SDXL's networks are told beside words and time (Podell et al. 2023, section 2.2); others, nothing.

    The whole prompt in one vector, and that the picture was `height` x `width`, still is, and is not cropped.
    """
    if text.pooled is None:
        return {}
    sizes = _size_ids(height, width, text.pooled.device).expand(len(text), -1)
    return {"text_embeds": text.pooled, "time_ids": sizes}


@functools.cache
def _size_ids(height: int, width: int, device: torch.device) -> Float[Tensor, "1 6"]:
    return torch.tensor([[height, width, 0, 0, height, width]], dtype=torch.float32, device=device)


def _picture(text: TextStates) -> dict[str, list[Tensor]]:
    """What an IP-Adapter in the UNet reads."""
    return {} if text.picture is None else {"image_embeds": [text.picture]}


def with_guidance(
    denoise: TextDenoiser,
    positive: TextStates,
    negative: TextStates,
    scale: float,
    chunks: Sequence[Sequence[int]],
    rescale: float = 0.0,
    size: ChunkSize | None = None,
) -> Denoiser:
    """Classifier-free guidance (Ho and Salimans 2022) on x0, both halves in one batch, views in chunks.

    On x0 it is the same as on eps, v or flow: all are affine in x0 with x_t fixed. `scale` 1 evaluates
    the positive text alone.

    Args:
        positive, negative: one text a view each.
        chunks: the views of each batch, in order; together they are all views, once each.
        size: cuts chunks further, and shrinks where memory runs out; None leaves them as they are.
        rescale: share of guidance's gain in spread that is taken back (Lin et al. 2024, section 3.4), 0 to 1.
    """

    texts: dict[tuple[int, ...], TextStates] = {}

    def text_of(views: Sequence[int]) -> TextStates:
        """The texts of a batch, put together once and not in every step."""
        if tuple(views) not in texts:
            rows = rows_of(views, positive.states.device)
            halves = [positive[rows]] if scale == 1.0 else [negative[rows], positive[rows]]
            texts[tuple(views)] = TextStates.stack(halves)
        return texts[tuple(views)]

    def evaluate(x_t: Tensor, level: NoiseLevel, views: Sequence[int]) -> Tensor:
        made = denoise(x_t[rows_of(views, x_t.device)], level, text_of(views), views)
        if scale == 1.0:
            return made[0]
        without, with_text = made
        strong = without + scale * (with_text - without)
        return _match_spread(strong, with_text, rescale) if rescale > 0.0 else strong

    def guided(x_t: Tensor, level: NoiseLevel) -> Tensor:
        x0 = torch.empty_like(x_t)

        def work(views: Sequence[int]) -> None:
            x0[rows_of(views, x_t.device)] = evaluate(x_t, level, views)

        for views in chunks:
            in_chunks(views, size or ChunkSize("views painted together", len(views)), work)
        return x0

    return guided


def with_known(
    denoise: Denoiser, known: Float[Tensor, "N C h w"], mask: Float[Tensor, "N 1 h w"]
) -> Denoiser:
    """Latents that are known beforehand (a background, a photo) replace the prediction where `mask` is 1."""

    def informed(x_t: Tensor, level: NoiseLevel) -> Tensor:
        return torch.lerp(denoise(x_t, level), known, mask)

    return informed


def view_chunks(views: int, size: int, first: Sequence[int] = ()) -> list[list[int]]:
    """All views in batches of at most `size`; those of `first` come first and are not mixed with others."""
    others = [i for i in range(views) if i not in first]
    return [group[i : i + size] for group in (list(first), others) for i in range(0, len(group), size)]


def _match_spread(
    strong: Float[Tensor, "N C h w"], plain: Float[Tensor, "N C h w"], share: float
) -> Float[Tensor, "N C h w"]:
    """`strong` with its standard deviation per view moved towards that of `plain`."""
    axes = (1, 2, 3)
    gain = plain.std(axes, keepdim=True) / strong.std(axes, keepdim=True).clamp_min(1e-6)
    return strong * (1.0 - share + share * gain)
