"""One request as plain values, and the checks that need no model. Imports nothing heavy."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vitruvian.core.errors import UserError
from vitruvian.core.folders import check_out_folder
from vitruvian.diffusion.catalogue import VRAM_MODES

MAX_PROMPT = 2_000


@dataclass(frozen=True)
class GenerateJob:
    """Everything that decides what `generate` makes. The same job gives the same bytes on the same device."""

    prompt: str
    out: Path | None = None
    """Folder for the results; None keeps them in memory."""
    mesh: Path | None = None
    """The user's own body; None takes the built-in one."""
    body: Mapping[str, float] = field(default_factory=dict)
    """Phenotype of the built-in body, each value in [0, 1] (`body.anny_body.PHENOTYPES`); the prompt's words
    about the person ("an old woman") decide what is left out."""
    pose: str | None = None
    """A named pose of the built-in body; None takes A."""
    cameras: Path | None = None
    """A camera rig as JSON (docs/cameras.md); None takes two rings of eight."""
    extra_views: int = 0
    """Cameras to add where the rig sees the body badly."""
    prior: str = "mini"
    negative: str = ""
    seed: int = 0
    steps: int = 20
    guidance: float | None = None
    """Classifier-free guidance scale; None takes the method's own."""
    size: int | None = None
    """Width and height of a view in pixels; None takes what the prior was trained on."""
    texture_size: int = 1024
    method: str = "mvhuman"
    device: str = "auto"
    memory: str = "auto"
    """How much is on the graphics card at once: "auto" what fits, "low" or "offload" less."""
    reference: bool = True
    """Let every view look at the front close-up while it is painted."""
    style_image: Path | None = None
    """A picture of how the person, or the style, is to look; the prior needs an IP-Adapter for it."""
    style_weight: float | None = None
    """How much the picture counts; None takes what the prior's recipe says."""


def check_job(job: GenerateJob) -> None:
    """Refuse what can be seen to be wrong before torch or a model is loaded.

    Raises:
        UserError: naming the field, the value, what is wrong with it, and the remedy.
    """
    _check_prompt("prompt", job.prompt, may_be_empty=False)
    _check_prompt("negative", job.negative, may_be_empty=True)
    _check_range("steps", job.steps, 1, 1000, "20 is a good start; more steps take longer and change little")
    _check_range("seed", job.seed, 0, 2**32 - 1, "Any whole number in that range gives another variant")
    _check_range("extra_views", job.extra_views, 0, 32, "2 to 4 are enough for most bodies")
    _check_pixels(
        "texture_size", job.texture_size, 512, 4096, "1024 suits previews, 2048 or 4096 a final texture"
    )
    if job.size is not None:
        _check_pixels(
            "size", job.size, 128, 2048, "Leave it out to use the size that the prior was trained on"
        )
    if job.memory not in VRAM_MODES:
        raise UserError("memory", job.memory, "is unknown", f"Use one of {', '.join(VRAM_MODES)}")
    if job.guidance is not None:
        _check_range(
            "guidance",
            job.guidance,
            1.0,
            30.0,
            "Higher values follow the words more closely; 5 to 8 is usual",
        )
    _check_body(job)
    _check_style(job)
    _check_file("mesh", job.mesh)
    _check_file("cameras", job.cameras)
    if job.out is not None:
        check_out_folder(job.out)


def parse_body(text: str) -> dict[str, float]:
    """The phenotype given on the command line: a JSON object, or the path of a file that holds one.

    Raises:
        UserError: not JSON, or not an object of numbers.
    """
    source = text
    if not text.lstrip().startswith("{") and text.strip():
        path = Path(text)
        if not path.is_file():
            raise UserError("body", text, "is neither a JSON object nor a file", _BODY_REMEDY)
        try:
            source = path.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            raise UserError("body", text, f"cannot be read ({error.strerror})", _BODY_REMEDY) from None
    try:
        values = json.loads(source)
    except json.JSONDecodeError as error:
        raise UserError("body", text, f"is not JSON ({error})", _BODY_REMEDY) from None
    if not isinstance(values, dict):
        raise UserError("body", text, "is not a JSON object", _BODY_REMEDY)
    return values


_BODY_REMEDY = """Write it like '{"gender": 0.2, "age": 0.6}'"""


def _check_prompt(name: str, text: str, may_be_empty: bool) -> None:
    if not text.strip() and not may_be_empty:
        raise UserError(name, text, "is empty", 'Describe the person, for example "a man in a grey suit"')
    if len(text) > MAX_PROMPT:
        raise UserError(
            name,
            text,
            f"is longer than {MAX_PROMPT:,} characters",
            "Shorten it to a sentence or two: models read about the first 70 words",
        )


def _check_range(name: str, value: float, low: float, high: float, remedy: str) -> None:
    if not math.isfinite(value) or not low <= value <= high:
        raise UserError(name, value, f"is not between {low:g} and {high:.10g}", remedy)


def _check_pixels(name: str, value: int, low: int, high: int, remedy: str) -> None:
    _check_range(name, value, low, high, remedy)
    if value % 8:
        raise UserError(name, value, "is not a multiple of 8", f"Use {round(value / 8) * 8}")


def _check_body(job: GenerateJob) -> None:
    if job.mesh is not None and job.body:
        raise UserError(
            "body", dict(job.body), "shapes the built-in body only", "Leave out either body or mesh"
        )
    if job.mesh is not None and job.pose is not None:
        raise UserError("pose", job.pose, "poses the built-in body only", "Leave out either pose or mesh")


def _check_style(job: GenerateJob) -> None:
    _check_file("style_image", job.style_image)
    if job.style_weight is None:
        return
    _check_range("style_weight", job.style_weight, 0.0, 2.0, "0.4 leaves room to the words, 0.8 little")
    if job.style_image is None:
        raise UserError(
            "style_weight",
            job.style_weight,
            "weighs a picture that is not there",
            "Give style_image as well",
        )


def _check_file(name: str, path: Path | None) -> None:
    if path is not None and not path.is_file():
        raise UserError(
            name, str(path), "is not there" if not path.exists() else "is not a file", "Check the path"
        )
