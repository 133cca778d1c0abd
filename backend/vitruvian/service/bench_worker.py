"""A worker that paints nothing: it waits, and writes noise. For measuring everything around the painting.

python -m vitruvian.service.bench_worker
What it does stands in the prompt: "seconds=0.2 size=1000000 files=1".
"""

from __future__ import annotations

import re
import time
from pathlib import Path

import numpy as np

from vitruvian.service.pipes import Order
from vitruvian.service.worker import JobProgress, Worker, take_over_pipes

_STEP_SECONDS = 0.05


def paint(order: Order, progress: JobProgress, folder: Path) -> None:
    """Wait as long and write as much as the prompt says."""
    wanted = {name: float(value) for name, value in re.findall(r"(\w+)=([0-9.]+)", order.settings["prompt"])}
    steps = max(1, round(wanted["seconds"] / _STEP_SECONDS))
    for step in range(steps):
        progress("sampling", step / steps)
        time.sleep(wanted["seconds"] / steps)
    noise = np.random.default_rng(order.settings["seed"]).bytes(int(wanted["size"]))
    for index in range(int(wanted["files"])):
        (folder / f"noise_{index}.bin").write_bytes(noise)


if __name__ == "__main__":
    commands, answers = take_over_pipes()
    Worker(paint, commands, answers).run({"device": "none", "memory_total": 0})
