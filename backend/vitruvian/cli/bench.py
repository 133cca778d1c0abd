"""`vitruvian bench`: speed and memory of each stage."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from vitruvian.cli.bench_blender import blender_command, time_blender
from vitruvian.cli.targets import DEVICE, PRIOR, print_targets


def bench(
    what: Annotated[
        Literal["render", "generate", "fuse", "scaling", "wire", "blender", "all"],
        typer.Argument(help="Which part to time."),
    ] = "all",
    prior: Annotated[str, PRIOR] = "mini",
    device: Annotated[str, DEVICE] = "auto",
    size_of: Annotated[
        Literal["sd15"] | None,
        typer.Option(
            help="generate: networks of this family's size with random weights, which cost the same."
        ),
    ] = None,
    overhead: Annotated[
        bool, typer.Option("--overhead", help="wire: also compare a whole job with the same one submitted.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="scaling: the largest textures too, and each point three times.")
    ] = False,
    out: Annotated[Path, typer.Option(help="scaling: folder for scaling.json and scaling.png.")] = Path(
        "out/scaling"
    ),
    steps: Annotated[int, typer.Option(help="blender: painting steps of the job.", min=1, max=1000)] = 20,
    repeats: Annotated[int, typer.Option(help="blender: how often each way is gone.", min=1, max=1000)] = 1,
    blender: Annotated[
        Path | None, typer.Option(help="blender: a Blender 4.2 or newer that has the extension.")
    ] = None,
    python: Annotated[
        Path | None, typer.Option(help="blender: Python of an environment with bpy. [.venv-blender's]")
    ] = None,
    extension: Annotated[
        Path | None, typer.Option(help="blender: the zip to install into bpy. [the one in dist]")
    ] = None,
) -> None:
    """Time the stages on this machine, against a named alternative in the same run.

    `all` leaves out scaling, which takes minutes, and blender, which needs one.
    """
    if what == "blender":
        time_blender(blender_command(blender, python, extension), steps, repeats)
        return
    if what in ("wire", "all"):
        _bench_wire(overhead)
    if what == "wire":
        return
    from vitruvian.cli.progress import progress_report
    from vitruvian.evaluate.bench.fuse import bench_fuse
    from vitruvian.evaluate.bench.generate import bench_full_size, bench_generate
    from vitruvian.evaluate.bench.render import bench_render
    from vitruvian.generation import choose_device

    chosen = choose_device(device)
    if what in ("render", "all"):
        print_targets("16 views of 256 px", bench_render(chosen))
    if what in ("fuse", "all"):
        print_targets("fusion of 16 views of 1024 px", bench_fuse(chosen))
    if what in ("generate", "all"):
        with progress_report() as report:
            if size_of is None:
                bench_generate(prior, chosen, report, print_targets)
            else:
                bench_full_size(size_of, chosen, report, print_targets)
    if what == "scaling":
        from vitruvian.core.folders import check_out_folder
        from vitruvian.evaluate.bench.scaling import bench_scaling

        check_out_folder(out, owner="scaling.json")
        with progress_report() as report:
            table = bench_scaling(prior, chosen, out, full, report)
        print_targets("time and memory ~ size^exponent", table)
        print(out / "scaling.png")


def _bench_wire(overhead: bool) -> None:
    from vitruvian.evaluate.bench.generate import DEMO_PROMPT
    from vitruvian.evaluate.protocol import Target
    from vitruvian.service.bench import Figure, bench_overhead, bench_queue, bench_transfers

    def show(title: str, figures: list[Figure]) -> None:
        print_targets(title, [Target(**vars(figure)) for figure in figures])

    show("results over loopback, SHA-256 on both sides", bench_transfers())
    show("20 clients with 10 jobs each, workers that paint nothing", bench_queue())
    if overhead:
        show("the demo's job, submitted", bench_overhead(DEMO_PROMPT))
