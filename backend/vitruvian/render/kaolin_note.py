"""What to tell somebody whose CUDA machine has no Kaolin: what it would bring, and how to get it."""

from __future__ import annotations

import torch

from vitruvian.render import raster_kaolin

INDEX = "https://nvidia-kaolin.s3.us-east-2.amazonaws.com"
SOURCE = "git+https://github.com/NVIDIAGameWorks/kaolin"
TORCH_RANGE = ((2, 5, 1), (2, 12, 1))
"""What Kaolin's own setup.py accepts (July 2026)."""
WHEELS = {
    "2.8.0": ("126", "128", "129"),
    "2.7.1": ("118", "126", "128"),
    "2.7.0": ("118", "126", "128"),
    "2.6.0": ("118", "124", "126"),
    "2.5.1": ("118", "121", "124", "126", "128", "129"),
    "2.5.0": ("118", "121", "124", "126", "128", "129"),
}
"""CUDA versions with a wheel of Kaolin 0.18 in NVIDIA's index, by torch version, newest first."""


def kaolin_note(device: torch.device) -> str | None:
    """For a CUDA device without Kaolin: what that means, and the line that installs it. Else None."""
    if device.type != "cuda":
        return None
    problem = raster_kaolin.why_missing()
    if problem is None:
        return None
    return (
        f"Kaolin {problem}: views are rasterised on the processor instead of the card. "
        f"{install_line(torch.__version__, torch.version.cuda or '')}"
    )


def install_line(torch_version: str, cuda_version: str) -> str:
    """How to get Kaolin for these versions (as torch tells them: "2.8.0+cu129", "12.9")."""
    release = torch_version.partition("+")[0]
    numbers = tuple(int(part) for part in release.split(".")[:3] if part.isdigit())
    low, high = TORCH_RANGE
    if not low[:2] <= numbers[:2] or numbers > high:
        newest = next(iter(WHEELS))
        return (
            f"Kaolin takes torch {_dotted(low)} to {_dotted(high)}, and this is {release}: "
            f"set up again with TORCH=torch=={newest}, then ask again"
        )
    cuda = cuda_version.replace(".", "")
    address = f"{INDEX}/torch-{release}_cu{cuda}.html"
    wheel = f'pip install "kaolin>=0.18" -f {address}'
    if cuda in WHEELS.get(release, ()):
        return f"To have it: {wheel}"
    return (
        f"To have it: {wheel}; if that finds none, build it with CUDA {cuda_version}'s nvcc: "
        f'pip install "setuptools<75.9" && pip install --no-build-isolation {SOURCE}'
    )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)
