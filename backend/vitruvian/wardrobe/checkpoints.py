"""The state of a training: weights, their moving averages, optimiser, and how far it has come."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from vitruvian.core.errors import UserError


@dataclass
class Progress:
    """Where a training is. Learning rates follow it, so that a resumed run goes on where it stopped."""

    step: int = 0
    elapsed: float = 0.0
    """Seconds spent in training steps, over all runs."""
    extra: dict[str, Any] = field(default_factory=dict)
    """What else belongs to the state; JSON-serialisable."""


class MovingAverage:
    """Exponential moving average of weights; its decay warms up as (1 + n) / (10 + n), as diffusers' does."""

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
    contiguous = {
        k: v.detach().cpu().clone(memory_format=torch.contiguous_format) for k, v in tensors.items()
    }
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
            "resume",
            str(path),
            f"cannot be resumed ({type(error).__name__})",
            "Start in an empty folder, or without --resume",
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
