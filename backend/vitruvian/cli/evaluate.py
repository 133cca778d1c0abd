"""`vitruvian evaluate`: the figures that the documentation quotes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vitruvian.cli.targets import DEVICE, PRIOR, print_targets


def evaluate(
    prior: Annotated[str, PRIOR] = "mini",
    out: Annotated[Path, typer.Option(help="Folder for the figures and sheets.")] = Path("out/evaluate"),
    people: Annotated[int, typer.Option(help="Test people whose colours are judged.", min=1, max=500)] = 24,
    compared: Annotated[
        int, typer.Option(help="Test people sampled both with and without consistency.", min=1, max=100)
    ] = 4,
    ablation: Annotated[
        bool, typer.Option("--ablation", help="Instead: switch off each device of the sampler in turn.")
    ] = False,
    device: Annotated[str, DEVICE] = "auto",
) -> None:
    """Judge an image model and the sampler on people that no training ever saw."""
    from vitruvian.cli.progress import progress_report
    from vitruvian.core.folders import check_out_folder
    from vitruvian.diffusion.loading import load_prior
    from vitruvian.evaluate.ablation import ablate
    from vitruvian.evaluate.protocol import evaluate as run_protocol
    from vitruvian.generation import choose_device

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
