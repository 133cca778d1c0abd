"""`vitruvian train-prior`: makes the bundled image model anew, or goes on with it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vitruvian.core.errors import UserError


def train_prior(
    out: Annotated[Path, typer.Option(help="Folder for checkpoints, sample sheets and the finished model.")],
    part: Annotated[
        Literal["data", "vae", "text", "diffusion", "decoder", "tiny", "all"],
        typer.Option(
            help="Which part: data renders and paints people; the others learn, in that order. "
            "all leaves out tiny, the small autoencoder."
        ),
    ] = "all",
    minutes: Annotated[
        float, typer.Option(help="Time for learning: about 90 on two processor cores, 25 on a graphics card.")
    ] = 90.0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from what the folder holds.")] = False,
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="Folder of a finished model to go on from, when there is no checkpoint of it any more.",
            show_default=False,
        ),
    ] = None,
    subjects: Annotated[int, typer.Option(help="How many different people are made to learn from.")] = 700,
    seed: Annotated[int, typer.Option(help="Another number makes other people.", min=0, max=2**32 - 1)] = 0,
    workers: Annotated[
        int, typer.Option(help="Processes that render people at the same time.", min=1, max=256)
    ] = 2,
    device: Annotated[
        str, typer.Option(help="auto, cpu, cuda, or one graphics card such as cuda:1.")
    ] = "auto",
) -> None:
    """Train an image model on synthetic dressed people; Ctrl-C keeps the last checkpoint for --resume.

    Use the result with `vitruvian generate ... --prior OUT/prior`.
    """
    if start_from is not None and not start_from.is_dir():
        raise UserError("start_from", str(start_from), "is not a folder", "Give one that OUT/prior became")
    from vitruvian.generation import choose_device
    from vitruvian.wardrobe import train_prior as training

    device = str(choose_device(device))
    print(
        training.train_prior(
            out, part, minutes, resume, device, subjects, seed, workers, start_from=start_from
        )
    )
