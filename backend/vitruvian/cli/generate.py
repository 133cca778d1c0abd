"""`vitruvian generate`: a sentence in, a textured human out."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from vitruvian.job import GenerateJob, check_job, parse_body

BODY = "The body"
LOOK = "The look"
QUALITY = "Quality and time"
MACHINE = "Machine and files"


Prompt = Annotated[
    str, typer.Argument(help="The person in your own words: who, hair, each garment with its colour.")
]
MeshFile = Annotated[
    Path | None,
    typer.Option(
        help="Your own body (.glb, .gltf, .obj, .ply, or an SMPL/SMPL-X .npz). "
        "It comes back unchanged, with a texture. Without it, the built-in body is used.",
        rich_help_panel=BODY,
    ),
]
BodyShape = Annotated[
    str,
    typer.Option(
        help="Shape of the built-in body as JSON, or a JSON file, each value from 0 to 1: "
        """'{"gender": 0.2, "age": 0.6, "weight": 0.4}'. What you leave out follows your words.""",
        rich_help_panel=BODY,
        show_default=False,
    ),
]
Pose = Annotated[
    str | None,
    typer.Option(help="Pose of the built-in body: A, T, relaxed, walking, ... [A]", rich_help_panel=BODY),
]
Negative = Annotated[
    str, typer.Option(help="What you do not want to see.", rich_help_panel=LOOK, show_default=False)
]
Seed = Annotated[
    int,
    typer.Option(
        help="Another number gives another person for the same words; the same one, the same person.",
        rich_help_panel=LOOK,
    ),
]
Guidance = Annotated[
    float | None,
    typer.Option(
        help="How strictly to follow your words, 1 (loosely) to 30; too high looks overdone. "
        "[the image model's own]",
        rich_help_panel=LOOK,
        show_default=False,
    ),
]
Reference = Annotated[
    bool,
    typer.Option(
        help="Let every view look at the front close-up, so that all show one person.",
        rich_help_panel=LOOK,
    ),
]
StyleImage = Annotated[
    Path | None,
    typer.Option(
        help="A picture (PNG, JPEG) of how the person or the style is to look, beside your words. "
        "Needs an image model with an IP-Adapter (docs/priors.md).",
        rich_help_panel=LOOK,
    ),
]
StyleWeight = Annotated[
    float | None,
    typer.Option(
        help="How much the picture counts, 0 (not at all) to 2. [the image model's own, mostly 0.6]",
        rich_help_panel=LOOK,
        show_default=False,
    ),
]
PriorName = Annotated[
    str,
    typer.Option(
        help="The image model that paints: mini (bundled, works offline), sd15 or sdxl (downloaded once), "
        "a folder or hub name in diffusers' layout, a .safetensors file, or a .json recipe (docs/priors.md).",
        rich_help_panel=LOOK,
    ),
]
Method = Annotated[str, typer.Option(help="How the views are painted and joined.", rich_help_panel=LOOK)]
Steps = Annotated[
    int,
    typer.Option(help="Painting steps: fewer are quicker, more are cleaner.", rich_help_panel=QUALITY),
]
Size = Annotated[
    int | None,
    typer.Option(
        help="Pixels across one painted view. [what the image model was trained on]",
        rich_help_panel=QUALITY,
        show_default=False,
    ),
]
TextureSize = Annotated[
    int, typer.Option(help="Pixels across the texture, 512 to 4096.", rich_help_panel=QUALITY)
]
Cameras = Annotated[
    Path | None,
    typer.Option(
        help="Your own cameras as JSON (docs/cameras.md). "
        "Without it: 8 of the whole body, 8 of the upper body.",
        rich_help_panel=QUALITY,
    ),
]
ExtraViews = Annotated[
    int,
    typer.Option(help="Add this many cameras where the others see the body badly.", rich_help_panel=QUALITY),
]
Out = Annotated[
    Path,
    typer.Option(
        help="Folder for the result. It appears only when everything is finished.",
        rich_help_panel=MACHINE,
    ),
]
Device = Annotated[
    str,
    typer.Option(help="auto, cpu, cuda, or one graphics card such as cuda:1.", rich_help_panel=MACHINE),
]

Memory = Annotated[
    str,
    typer.Option(
        help="How much is on the graphics card at once: auto (what fits), low (a view at a time), "
        "offload (also a network at a time: least, and slow).",
        rich_help_panel=MACHINE,
    ),
]


def generate(
    prompt: Prompt,
    mesh: MeshFile = None,
    body: BodyShape = "",
    pose: Pose = None,
    negative: Negative = "",
    seed: Seed = 0,
    guidance: Guidance = None,
    reference: Reference = True,
    style_image: StyleImage = None,
    style_weight: StyleWeight = None,
    prior: PriorName = "mini",
    method: Method = "mvhuman",
    steps: Steps = 20,
    size: Size = None,
    texture_size: TextureSize = 1024,
    cameras: Cameras = None,
    extra_views: ExtraViews = 0,
    out: Out = Path("out/human"),
    device: Device = "auto",
    memory: Memory = "auto",
) -> None:
    """Paint a body from a description, from every side, and join the views into one texture.

    The folder gets human.glb (opens in Blender), albedo.png, the painted views, a turntable and report.json.
    """
    job = job_from(locals())

    from vitruvian.cli.progress import progress_report

    with progress_report() as report:
        from vitruvian.generation import run_job  # seconds of imports: the bars' Ctrl-C covers them

        avatar = run_job(job, report)
    for note in avatar.report["notes"]:
        print(f"note: {note}", file=sys.stderr)
    print(os.path.join(out, "human.glb"))


def job_from(options: Mapping[str, Any]) -> GenerateJob:
    """The job that the options of `generate` or `submit` ask for; what else is among them is left out.

    Raises:
        UserError: an option that can be seen to be wrong.
    """
    chosen = {field.name: options[field.name] for field in fields(GenerateJob) if field.name in options}
    chosen["body"] = parse_body(chosen["body"]) if chosen["body"].strip() else {}
    job = GenerateJob(**chosen)
    check_job(job)
    return job
