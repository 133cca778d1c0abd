"""What `vitruvian priors` prints of image models."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console
from rich.table import Table

from vitruvian.diffusion.catalogue import CATALOGUE, VRAM_MODES, KnownPrior, known_prior
from vitruvian.diffusion.installed import cached_folder, read_record
from vitruvian.diffusion.shelf import (
    BUNDLED,
    PartOnDisk,
    PriorOnDisk,
    known_in,
    other_priors,
    parts_on_disk,
    prior_in,
)

_WIDTH_WITHOUT_TERMINAL = 160


def gigabytes(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.2f} GB" if size >= 1e7 else f"{size / 1e6:.2f} MB"


def print_list(folders: list[Path]) -> None:
    """A line for every known prior, every other one in the hub's cache, and every one in `folders`.

    Raises:
        UserError: a folder holds none.
    """
    table = Table("name", "state", "disk", "graphics memory", "view", "licence", box=None, pad_edge=False)
    table.add_row(*_row(prior_in(BUNDLED, "mini"), "bundled"))
    for prior in CATALOGUE.values():
        table.add_row(*_known_row(prior, prior.name, parts_on_disk(prior)))
    for found in other_priors():
        table.add_row(*_row(found))
    for folder in [found for given in folders for found in _priors_below(given)]:
        known = known_in(folder)
        if known:
            table.add_row(*_known_row(known, str(folder), parts_on_disk(known, folder)))
        else:
            table.add_row(*_row(prior_in(folder)))
    console = _console()
    console.print(table)
    console.print(
        "Graphics memory: 16 views with auto / low / offload, counted; of models not known by name, "
        "the weights alone. Disk: without the IP-Adapter.",
        style="dim",
    )


def print_one(name: str) -> None:
    """All there is to say of one prior.

    Raises:
        UserError: it is neither known nor on this disk.
    """
    folder = Path(name).expanduser()
    console = _console()
    if name in CATALOGUE or (folder.is_dir() and known_in(folder)):
        known = CATALOGUE.get(name) or known_in(folder)
        assert known is not None
        _print_known(console, known, parts_on_disk(known, None if name in CATALOGUE else folder))
        return
    if name == "mini":
        found = prior_in(BUNDLED, name)
    elif folder.is_dir():
        found = prior_in(folder)
    elif name.count("/") == 1 and (cached := cached_folder(name)):
        found = prior_in(cached, name)
    else:
        known_prior(name)  # Raises, and says which there are.
        return
    console.print(f"{found.name}: {gigabytes(found.disk_bytes)} in {found.folder}")
    console.print(f"licence {found.licence}; weights in graphics memory {gigabytes(found.weights_bytes)}")
    if found.lacks:
        console.print(f"lacks {', '.join(found.lacks)}")
    _print_files(console, found.folder)


def _print_known(console: Console, prior: KnownPrior, there: list[PartOnDisk]) -> None:
    console.print(f"{prior.title}, views of {prior.image_size} x {prior.image_size} pixels")
    console.print(f"graphics memory with {_memory(prior)} ({' / '.join(VRAM_MODES)}; 16 views; counted)")
    for found in there:
        part = found.part
        optional = " (only with --with-ip-adapter)" if part is prior.ip_adapter else ""
        console.print(f"\n{part.repository}: {part.disk_gb:.2f} GB{optional}")
        console.print(f"  licence {part.licence.name}, {part.licence.url}")
        console.print(f"  {_state([found])}{f' in {found.folder}' if found.folder else ''}")
        if found.folder:
            _print_files(console, found.folder)


def _print_files(console: Console, folder: Path) -> None:
    record = read_record(folder)
    if record:
        files = [(file.path, file.size) for file in record.files]
    else:
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        files = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]
    for path, size in files:
        console.print(f"    {path} {gigabytes(size)}", highlight=False)


def _known_row(prior: KnownPrior, name: str, there: list[PartOnDisk]) -> tuple[str, ...]:
    needed = [found for found in there if found.part is not prior.ip_adapter]
    licences = dict.fromkeys(found.part.licence.name for found in needed)
    return (
        name,
        _state(needed),
        f"{sum(found.part.disk_gb for found in needed):.1f} GB",
        _memory(prior),
        f"{prior.image_size} px",
        ", ".join(licences),
    )


def _row(found: PriorOnDisk, state: str = "installed") -> tuple[str, ...]:
    return (
        found.name,
        f"incomplete: lacks {', '.join(found.lacks)}" if found.lacks else state,
        gigabytes(found.disk_bytes),
        gigabytes(found.weights_bytes),
        f"{found.image_size} px" if found.image_size else "?",
        found.licence,
    )


def _state(parts: list[PartOnDisk]) -> str:
    if all(found.whole for found in parts):
        return "installed"
    if not any(found.folder for found in parts):
        return "not installed"
    absent = [found.part.folder or "base model" for found in parts if found.folder is None]
    lacks = [f"{found.part.folder}/{what}".lstrip("/") for found in parts for what in found.lacks]
    return f"incomplete: lacks {', '.join(absent + lacks)}"


def _memory(prior: KnownPrior) -> str:
    return " / ".join(f"{prior.vram_gb(mode):.1f}" for mode in VRAM_MODES) + " GB"


def _priors_below(folder: Path) -> list[Path]:
    """The folder itself where it is a model, else the models in it."""
    folder = folder.expanduser()
    if (folder / "model_index.json").is_file() or not folder.is_dir():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/model_index.json")) or [folder]


def _console() -> Console:
    console = Console(soft_wrap=True)
    return console if console.is_terminal else Console(width=_WIDTH_WITHOUT_TERMINAL, soft_wrap=True)
