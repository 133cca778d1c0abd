"""Which devices of this machine get a worker, and how each one is started."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence

from vitruvian.core.errors import UserError


def local_workers(
    devices: Sequence[str], priors: Mapping[str, str], memory: str = "auto"
) -> dict[str, list[str]]:
    """Command lines of workers, one for each device.

    Args:
        devices: as for `generate`; ["auto"] takes every CUDA card, or else the processor.
        priors: what stands behind each name that clients may use.
        memory: how much is on a card at once, as for `generate`.

    Raises:
        UserError: a name that is no device's, or one that is there twice. Whether there is such a card is the
            worker's to find out: only it loads torch.
    """
    names = list(devices)
    for index, name in enumerate(names):
        if re.fullmatch(r"auto|cpu|cuda(:[0-9]+)?", name) is None:
            raise UserError("device", name, "is not a device", "Use auto, cpu, cuda or cuda:1")
        if name in names[:index]:
            raise UserError("device", name, "is named twice", "Each device has one worker")
    if names == ["auto"]:
        names = [f"cuda:{index}" for index in range(_count_cards())] or ["auto"]
    pairs = [f"{name}={prior}" for name, prior in priors.items()]
    command = [sys.executable, "-m", "vitruvian.service.worker"]
    return {name.replace(":", ""): [*command, name, memory, *pairs] for name in names}


def _count_cards() -> int:
    """CUDA cards, asked of the driver's own tool: torch is not imported by the gateway."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return 0
    try:
        told = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return 0
    return sum(line.startswith("GPU ") for line in told.stdout.splitlines())
