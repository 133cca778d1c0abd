"""What the trainings share: time budgets, moving averages, checkpoints that resume to the same bytes, sheets."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitruvian.core.errors import UserError


@dataclass
class Progress:
    """Where a training is. Learning rates follow `elapsed / budget`, so that a resumed run goes on where it stopped."""

    step: int = 0
    elapsed: float = 0.0
    """Seconds spent in training steps, over all runs."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What else belongs to the state; JSON-serialisable."""


def learning_rate(
    peak: float, step: int, fraction_done: float, warm_up_steps: int = 200, floor: float = 0.05
) -> float:
    """Linear warm-up by steps, then a cosine from `peak` to `floor * peak` over the budget (Loshchilov, arXiv:1608.03983)."""
    cosine = floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(max(fraction_done, 0.0), 1.0)))
    return peak * cosine * min(1.0, (step + 1) / warm_up_steps)


class MovingAverage:
    """Exponential moving average of weights, with the warm-up of diffusers' EMAModel: decay <= (1 + n) / (10 + n)."""

    def __init__(self, module: nn.Module, decay: float = 0.999) -> None:
        self.decay = decay
        self.count = 0
        self.state = {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module) -> None:
        self.count += 1
        decay = min(self.decay, (1 + self.count) / (10 + self.count))
        own, new = [], []
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                own.append(self.state[name])
                new.append(value.detach())
            else:
                self.state[name].copy_(value)
        torch._foreach_lerp_(own, new, 1.0 - decay)


def step_generator(seed: int, step: int) -> np.random.Generator:
    """The randomness of one training step: the same whether the run was interrupted before it or not."""
    return np.random.default_rng([seed, step])


def save_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    averages: Mapping[str, MovingAverage],
    optimizer: torch.optim.Optimizer,
    progress: Progress,
) -> None:
    """Everything needed to go on, in one safetensors file, written beside and then moved into place."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors |= {f"model/{name}/{k}": v for k, v in module.state_dict().items()}
    for name, average in averages.items():
        tensors |= {f"ema/{name}/{k}": v for k, v in average.state.items()}
    for index, state in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer/{index}/{k}": torch.as_tensor(v) for k, v in state.items()}
    card = {
        "step": progress.step,
        "elapsed": progress.elapsed,
        "extra": progress.extra,
        "ema_counts": {name: average.count for name, average in averages.items()},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    contiguous = {k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()}
    save_file(contiguous, fresh, metadata={"card": json.dumps(card)})
    os.replace(fresh, path)


def load_checkpoint(
    path: Path,
    modules: Mapping[str, nn.Module],
    averages: Mapping[str, MovingAverage],
    optimizer: torch.optim.Optimizer,
) -> Progress:
    """Put the state of `save_checkpoint` back.

    Raises:
        UserError: the file does not fit these models.
    """
    from safetensors import SafetensorError, safe_open

    try:
        tensors = load_file(path)
        with safe_open(path, framework="pt") as opened:
            card = json.loads(opened.metadata()["card"])
        for name, module in modules.items():
            module.load_state_dict(_under(tensors, f"model/{name}/"))
        for name, average in averages.items():
            average.state = _under(tensors, f"ema/{name}/")
            average.count = int(card["ema_counts"][name])
    except (SafetensorError, KeyError, RuntimeError) as error:
        raise UserError(
            "resume", str(path), f"cannot be resumed ({type(error).__name__})", "Start in an empty folder, or without --resume"
        ) from error
    states: dict[int, dict[str, Tensor]] = {}
    for key, value in _under(tensors, "optimizer/").items():
        index, name = key.split("/")
        states.setdefault(int(index), {})[name] = value
    whole = optimizer.state_dict()
    whole["state"] = states
    optimizer.load_state_dict(whole)
    return Progress(int(card["step"]), float(card["elapsed"]), dict(card["extra"]))


def _under(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def trainable(modules: Iterable[nn.Module]) -> list[nn.Parameter]:
    return [p for module in modules for p in module.parameters() if p.requires_grad]


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the processor has it (it halves convolution time on such CPUs), float32 elsewhere."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fast)


class Log:
    """Progress lines: printed, and appended to a file."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.start = time.monotonic()
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, line: str) -> None:
        stamped = f"{time.strftime('%H:%M:%S')} {line}"
        print(stamped, flush=True)
        if self.path is not None:
            with self.path.open("a") as opened:
                opened.write(stamped + "\n")


def save_sheet(rows: list[Float[Tensor, "N 3 H W"]], path: Path) -> None:
    """Images in [0, 1] as one PNG: one row per batch."""
    lines = [torch.cat(list(row.float().cpu().clamp(0, 1)), dim=2) for row in rows]
    width = max(line.shape[2] for line in lines)
    padded = [torch.nn.functional.pad(line, (0, width - line.shape[2]), value=1.0) for line in lines]
    pixels = (torch.cat(padded, dim=1).permute(1, 2, 0) * 255).round().to(torch.uint8).numpy()
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new.png")
    Image.fromarray(pixels).save(fresh)
    os.replace(fresh, path)
