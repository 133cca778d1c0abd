"""`vitruvian evaluate` and `vitruvian bench`: the figures that the documentation quotes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from vitruvian.evaluate.protocol import Target

_PRIOR = typer.Option(help="The image model to judge: mini, or a diffusers folder or hub name.")
_DEVICE = typer.Option(help="auto, cpu, cuda, or one graphics card such as cuda:1.")


def evaluate(
    prior: Annotated[str, _PRIOR] = "mini",
    out: Annotated[Path, typer.Option(help="Folder for the figures and sheets.")] = Path("out/evaluate"),
    people: Annotated[int, typer.Option(help="Test people whose colours are judged.", min=1, max=500)] = 24,
    compared: Annotated[
        int, typer.Option(help="Test people sampled both with and without consistency.", min=1, max=100)
    ] = 4,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Instead: switch off each device of the sampler in turn.")
    ] = False,
    device: Annotated[str, _DEVICE] = "auto",
) -> None:
    """Judge an image model and the sampler on people that no training ever saw."""
    from vitruvian.cli.progress import progress_report
    from vitruvian.core.folders import check_out_folder
    from vitruvian.evaluate.ablation import ablate
    from vitruvian.evaluate.protocol import evaluate as run_protocol
    from vitruvian.generation import choose_device, load_prior

    check_out_folder(out, owner="ablation.json" if ablation else "evaluation.json")
    loaded = load_prior(prior, choose_device(device))
    with progress_report() as report:
        if ablation:
            results = ablate(loaded, out, report, compared)
        else:
            table = run_protocol(loaded, out, report, people, compared).table()
    if ablation:
        _print_ablation(results)
    else:
        print_targets(f"prior {loaded.name} {loaded.hash[:12]}", table)


def bench(
    what: Annotated[
        Literal["render", "generate", "wire", "all"], typer.Argument(help="Which part to time.")
    ] = "all",
    prior: Annotated[str, _PRIOR] = "mini",
    device: Annotated[str, _DEVICE] = "auto",
    overhead: Annotated[
        bool, typer.Option("--overhead", help="wire: also compare a whole job with the same one submitted.")
    ] = False,
) -> None:
    """Time the stages on this machine, against a named alternative in the same run."""
    if what in ("wire", "all"):
        _bench_wire(overhead)
    if what == "wire":
        return
    from vitruvian.cli.progress import progress_report
    from vitruvian.evaluate.bench import bench_generate, bench_render
    from vitruvian.generation import choose_device

    chosen = choose_device(device)
    if what in ("render", "all"):
        print_targets("16 views of 256 px", bench_render())
    if what in ("generate", "all"):
        with progress_report() as report:
            table = bench_generate(prior, chosen, report)
        print_targets("the demo's job: 16 views, 20 steps, 1024 px texture", table)


def _bench_wire(overhead: bool) -> None:
    from vitruvian.evaluate.bench import DEMO_PROMPT
    from vitruvian.evaluate.protocol import Target
    from vitruvian.service.bench import Figure, bench_overhead, bench_queue, bench_transfers

    def show(title: str, figures: list[Figure]) -> None:
        print_targets(title, [Target(**vars(figure)) for figure in figures])

    show("results over loopback, SHA-256 on both sides", bench_transfers())
    show("20 clients with 10 jobs each, workers that paint nothing", bench_queue())
    if overhead:
        show("the demo's job, submitted", bench_overhead(DEMO_PROMPT))


def print_targets(title: str, lines: list[Target]) -> None:
    """A table on standard output."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, title_justify="left")
    for name in ("what", "measured", "target", ""):
        table.add_column(name, justify="right" if name == "measured" else "left")
    for line in lines:
        verdict = "" if line.met is None else ("met" if line.met else "NOT MET")
        table.add_row(line.what, f"{line.value:.4g} {line.unit}".strip(), line.target, verdict)
    Console().print(table)


def _print_ablation(results: list) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="each device switched off in turn", title_justify="left")
    for name in ("variant", "overlap dB", "Laplacian", "patch distance", "texture dB", "sampling s"):
        table.add_column(name, justify="left" if name == "variant" else "right")
    for r in results:
        figures = [
            f"{r.mean('overlap_psnr'):.2f}",
            f"{r.mean('sharpness'):.5f}",
            f"{r.mean('patch_distance'):.4f}",
        ]
        table.add_row(r.name, *figures, f"{r.mean('texture_psnr'):.2f}", f"{r.seconds:.1f}")
    Console().print(table)
