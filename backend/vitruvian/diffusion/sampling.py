"""Samplers: one flat loop over a diffusers scheduler, from noise to clean latents."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.diffusion.denoiser import Denoiser, NoiseLevel, prediction_from_x0
from vitruvian.diffusion.prior import prediction_of

SamplerName = Literal["ddim", "dpm++"]
SAMPLERS: tuple[SamplerName, ...] = ("ddim", "dpm++")


def sample(
    denoise: Denoiser,
    noise: Float[Tensor, "N C h w"],
    scheduler: Any,
    after_step: Callable[[NoiseLevel, Float[Tensor, "N C h w"]], None] | None = None,
) -> Float[Tensor, "N C h w"]:
    """Latents of all views, from `noise` (float32, unit variance).

    Every step hands the scheduler the prediction that the denoiser's x0 stands for, so what its wrappers did
    to x0 enters the step, and a multistep solver's history, exactly (MVHuman; research notes, section 1.4).

    Args:
        scheduler: from `make_scheduler`; any diffusers scheduler that takes eps, v, flow or x0 will do.
        after_step: told each level and its x0, for progress, previews and cancelling.
    """
    kind = prediction_of(scheduler.config)
    x_t = noise
    for level, timestep in zip(noise_levels(scheduler), scheduler.timesteps, strict=True):
        x0 = denoise(x_t, level)
        x_t = scheduler.step(prediction_from_x0(x0, x_t, level, kind), timestep, x_t, return_dict=False)[0]
        if after_step is not None:
            after_step(level, x0)
    return x_t


def make_scheduler(
    config: Mapping[str, Any], name: SamplerName, steps: int, device: torch.device | str = "cpu"
) -> Any:
    """The diffusers scheduler `name` on a prior's noise schedule, ready for `steps` steps.

    "ddim" is DDIM with eta 0 (Song et al. 2021), on flow models the Euler step, which is the same line;
    "dpm++" is DPM-Solver++ 2M (Lu et al. 2022).

    The scheduler is told that it gets v (or flow), whatever the network predicts: `sample` converts, and v,
    unlike eps, is defined at every noise level, zero signal (Lin et al. 2024) included.

    Raises:
        UserError: an unknown sampler, or a step count that the schedule does not have.
    """
    from diffusers.schedulers.scheduling_ddim import DDIMScheduler
    from diffusers.schedulers.scheduling_dpmsolver_multistep import DPMSolverMultistepScheduler
    from diffusers.schedulers.scheduling_flow_match_euler_discrete import FlowMatchEulerDiscreteScheduler

    if name not in SAMPLERS:
        raise UserError("sampler", name, "is unknown", f"Use one of {', '.join(SAMPLERS)}")
    if not 1 <= steps <= int(config.get("num_train_timesteps", 1000)):
        raise UserError("steps", steps, "is out of range", "Use 10 to 50 steps")
    flow = prediction_of(config) == "flow"
    if name == "dpm++":
        kind, own = DPMSolverMultistepScheduler, {**_DPM, **(_flow_sigmas(config) if flow else _V)}
    else:
        kind, own = (FlowMatchEulerDiscreteScheduler, {}) if flow else (DDIMScheduler, {**_V, **_UNCLIPPED})
    accepted = inspect.signature(kind.__init__).parameters
    scheduler: Any = kind(**{key: value for key, value in {**config, **own}.items() if key in accepted})
    scheduler.set_timesteps(steps, device=device)
    return scheduler


_V = {"prediction_type": "v_prediction"}
# Clipping x0 to [-1, 1] is for pixels; latents are wider.
_UNCLIPPED = {"clip_sample": False, "thresholding": False}
_DPM = {
    "algorithm_type": "dpmsolver++",
    "solver_order": 2,
    "final_sigmas_type": "zero",
    "thresholding": False,
}


def _flow_sigmas(config: Mapping[str, Any]) -> dict[str, Any]:
    """A flow scheduler's noise levels, in DPM-Solver's words."""
    shift = config.get("shift", config.get("flow_shift", 1.0))
    return {"prediction_type": "flow_prediction", "use_flow_sigmas": True, "flow_shift": shift}


def noise_levels(scheduler: Any) -> list[NoiseLevel]:
    """The level of each step of a scheduler whose timesteps are set."""
    times = [float(t) for t in scheduler.timesteps]
    sigmas = getattr(scheduler, "sigmas", None)
    if sigmas is None:
        kept = [float(scheduler.alphas_cumprod[int(t)]) for t in times]
        pairs = [(abar**0.5, (1.0 - abar) ** 0.5) for abar in kept]
    elif prediction_of(scheduler.config) == "flow":
        pairs = [(1.0 - float(s), float(s)) for s in sigmas[: len(times)]]
    else:
        # Schedulers in the form of Karras et al.: sigma / alpha is what they hold.
        pairs = [
            ((1.0 + float(s) ** 2) ** -0.5, float(s) * (1.0 + float(s) ** 2) ** -0.5)
            for s in sigmas[: len(times)]
        ]
    return [
        NoiseLevel(t, a, s, i, len(times)) for i, (t, (a, s)) in enumerate(zip(times, pairs, strict=True))
    ]


def view_noise(
    seed: int, names: Sequence[str], shape: tuple[int, int, int], device: torch.device | str = "cpu"
) -> Float[Tensor, "N C h w"]:
    """Starting noise, one generator a view: it depends on `seed` and the view's name, not on the other views.

    Drawn on the CPU, so that every device starts from the same numbers.
    """
    rows = []
    for name in names:
        digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little") >> 1)
        rows.append(torch.randn(shape, generator=generator))
    return torch.stack(rows).to(device)
