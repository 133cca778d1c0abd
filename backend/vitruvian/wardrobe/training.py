"""What the trainings share: time budgets, moving averages, resumable checkpoints, sample sheets."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor, nn

from vitruvian.wardrobe.checkpoints import MovingAverage, Progress, load_checkpoint, save_checkpoint


def learning_rate(
    peak: float, step: int, fraction_done: float, warm_up_steps: int = 200, floor: float = 0.05
) -> float:
    """Linear warm-up by steps, then a cosine down to `floor * peak` over the budget (arXiv:1608.03983)."""
    cosine = floor + (1.0 - floor) * 0.5 * (1.0 + math.cos(math.pi * min(max(fraction_done, 0.0), 1.0)))
    return peak * cosine * min(1.0, (step + 1) / warm_up_steps)


def step_generator(seed: int, step: int, share: int = 0) -> np.random.Generator:
    """The randomness of one training step: the same whether the run was interrupted before it or not."""
    return np.random.default_rng([seed, step, share])


def shares_on(device: torch.device, batch: int) -> int:
    """Into how many shares a batch is best cut: one on a GPU, one per core (two at most) on a CPU.

    oneDNN's backward convolutions in bfloat16 spin at barriers inside one operation; where other programs use
    the cores too, two threads in one operation were found to take thirty times as long as one. Threads that
    work on shares of their own meet once a step. Two, because the sum of two gradients does not depend on
    their order.
    """
    return 1 if device.type != "cpu" or batch < 2 else min(2, os.cpu_count() or 1)


@dataclass(frozen=True)
class Budget:
    """How long a training lasts, resumed runs included: minutes of training steps, or a number of steps."""

    minutes: float = 0.0
    steps: int = 0

    def fraction_done(self, progress: Progress) -> float:
        return progress.step / self.steps if self.steps else progress.elapsed / max(60.0 * self.minutes, 1e-9)


@dataclass(frozen=True)
class Task:
    """What one training does; `train` runs it."""

    name: str
    modules: dict[str, nn.Module]
    rate: float
    """Peak learning rate."""
    loss: Callable[[np.random.Generator, int], tuple[Tensor, dict[str, float]]]
    """(randomness, step) -> loss of one share of a batch, and figures to log."""
    export: Callable[[Mapping[str, MovingAverage], Progress], None]
    """Write the averaged weights where others use them."""
    sheet: Callable[[Progress], dict[str, float]]
    """Called with averaged weights in place: write sample sheets, return validation figures."""
    refresh: Callable[[], object] = lambda: None
    """Called every 40 steps: take up data that has appeared."""
    rate_factors: dict[str, float] = field(default_factory=dict)
    """Module name -> factor on the learning rate (1 where not given)."""
    decay: float = 0.999
    weight_decay: float = 1e-4
    warm_up_steps: int = 200
    seed: int = 0
    shares: int = 1
    """Threads that each work through a share of the batch (`shares_on`)."""


@dataclass(frozen=True)
class Rhythm:
    """How often, in seconds of training, things are written."""

    log: float = 20.0
    checkpoint: float = 120.0
    sheet: float = 300.0


def train(
    task: Task, out: Path, budget: Budget, log: Log, resume: bool = False, rhythm: Rhythm = Rhythm()
) -> Progress:
    """Run a task to the end of its budget; checkpoints go to `OUT/checkpoints/NAME.safetensors`.

    Raises:
        UserError: `resume` and a checkpoint that does not fit.
    """
    optimizer, averages = _optimizer(task), {n: MovingAverage(m, task.decay) for n, m in task.modules.items()}
    path = out / "checkpoints" / f"{task.name}.safetensors"
    progress = Progress()
    if resume and path.exists():
        progress = load_checkpoint(path, task.modules, averages, optimizer)
        log(f"{task.name}: resumed at step {progress.step}, {progress.elapsed / 60:.1f} min")
    due = {
        "log": 0.0,
        "checkpoint": progress.elapsed + rhythm.checkpoint,
        "sheet": progress.elapsed + rhythm.sheet,
    }
    figures: dict[str, list[float]] = {}
    threads = torch.get_num_threads()
    if task.shares > 1:
        torch.set_num_threads(1)
    pool = ThreadPoolExecutor(task.shares)
    while budget.fraction_done(progress) < 1.0:
        start = time.monotonic()
        if progress.step % 40 == 39:
            task.refresh()
        for name, value in _step(task, optimizer, averages, progress, budget, pool).items():
            figures.setdefault(name, []).append(value)
        progress.step += 1
        progress.elapsed += time.monotonic() - start
        if progress.elapsed >= due["log"]:
            due["log"] = progress.elapsed + rhythm.log
            log(_line(task.name, progress, budget, figures))
            figures = {}
        if progress.elapsed >= due["checkpoint"]:
            due["checkpoint"] = progress.elapsed + rhythm.checkpoint
            save_checkpoint(path, task.modules, averages, optimizer, progress)
            task.export(averages, progress)
        if progress.elapsed >= due["sheet"]:
            due["sheet"] = progress.elapsed + rhythm.sheet
            _sheet(task, averages, progress, log)
    pool.shutdown()
    torch.set_num_threads(threads)
    _sheet(task, averages, progress, log)
    save_checkpoint(path, task.modules, averages, optimizer, progress)
    task.export(averages, progress)
    return progress


def _optimizer(task: Task) -> torch.optim.AdamW:
    groups = [
        {
            "params": [p for p in module.parameters() if p.requires_grad],
            "factor": task.rate_factors.get(name, 1.0),
        }
        for name, module in task.modules.items()
    ]
    return torch.optim.AdamW(groups, lr=task.rate, betas=(0.9, 0.99), weight_decay=task.weight_decay)


def _step(
    task: Task,
    optimizer: torch.optim.Optimizer,
    averages: Mapping[str, MovingAverage],
    progress: Progress,
    budget: Budget,
    pool: ThreadPoolExecutor,
) -> dict[str, float]:
    rate = learning_rate(task.rate, progress.step, budget.fraction_done(progress), task.warm_up_steps)
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
    optimizer.zero_grad(set_to_none=True)
    figures: dict[str, float] = {}
    for part in pool.map(lambda share: _share(task, progress.step, share), range(task.shares)):
        figures |= part
    norm = nn.utils.clip_grad_norm_([p for g in optimizer.param_groups for p in g["params"]], 1.0)
    if torch.isfinite(norm):
        optimizer.step()
        for name, average in averages.items():
            average.update(task.modules[name])
    return figures | {"norm": norm.item()}


def _share(task: Task, step: int, share: int) -> dict[str, float]:
    """Forward and backward of one share; gradients add up in the modules."""
    loss, figures = task.loss(step_generator(task.seed, step, share), step)
    (loss / task.shares).backward()
    return {"loss": loss.item(), **figures}


def _line(name: str, progress: Progress, budget: Budget, figures: Mapping[str, list[float]]) -> str:
    done = budget.fraction_done(progress)
    left = progress.elapsed * (1 - done) / max(done, 1e-6) / 60
    means = " ".join(f"{k} {float(np.nanmean(v)):.4f}" for k, v in figures.items())
    pace = progress.elapsed / max(progress.step, 1)
    return f"{name} step {progress.step} {means} | {pace:.2f} s/step, {100 * done:.0f} %, {left:.0f} min left"


def _sheet(task: Task, averages: Mapping[str, MovingAverage], progress: Progress, log: Log) -> None:
    with averaged(task.modules, averages), torch.no_grad():
        figures = task.sheet(progress)
    if figures:
        log(
            f"{task.name} step {progress.step} VALIDATION "
            + " ".join(f"{k} {v:.3f}" for k, v in figures.items())
        )


@contextmanager
def averaged(modules: Mapping[str, nn.Module], averages: Mapping[str, MovingAverage]) -> Iterator[None]:
    """Within, the modules carry their averaged weights and are in evaluation mode."""
    own = {name: {k: v.detach().clone() for k, v in m.state_dict().items()} for name, m in modules.items()}
    for name, module in modules.items():
        module.load_state_dict(averages[name].state)
        module.eval()
    try:
        yield
    finally:
        for name, module in modules.items():
            module.load_state_dict(own[name])
            module.train()


def autocast(device: torch.device) -> torch.autocast:
    """bfloat16 where the processor has it (it halves convolution time on such CPUs), float32 elsewhere."""
    fast = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
    # Without the cache of cast weights: threads would share it, and every weight is used once a pass.
    return torch.autocast(device.type, torch.bfloat16, enabled=fast, cache_enabled=False)


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
