"""What `vitruvian priors` prints of image models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from vitruvian.diffusion.catalogue import BUNDLED, CATALOGUE, VRAM_MODES, KnownPrior, known_prior
from vitruvian.diffusion.installed import cached_folder, read_record
from vitruvian.diffusion.shelf import (
    PartOnDisk,
    PriorOnDisk,
    known_in,
    other_priors,
    parts_on_disk,
    prior_in,
)

_HEAD = ("name", "state", "disk", "graphics memory", "view", "licence")
_NOTE = (
    "graphics memory: the least for auto / low / offload, counted; of models not known by name, the weights\n"
    "disk: without the IP-Adapter"
)


@dataclass(frozen=True)
class _Line:
    columns: tuple[str, ...]
    lacks: Sequence[str] = ()


def gigabytes(size: float) -> str:
    """Bytes as people read them."""
    for unit, factor in (("GB", 1e9), ("MB", 1e6)):
        if size >= factor / 10:
            return f"{size / factor:.2f} {unit}"
    return f"{size / 1e3:.1f} kB"


def print_list(folders: list[Path]) -> None:
    """A line for every known prior, every other one in the hub's cache, and every one in `folders`.

    Raises:
        UserError: a folder holds none.
    """
    lines = [_Line(_HEAD), _line(prior_in(BUNDLED, "mini"), "bundled")]
    lines += [_known_line(prior, prior.name, parts_on_disk(prior)) for prior in CATALOGUE.values()]
    lines += [_line(found) for found in other_priors()]
    for folder in [found for given in folders for found in _priors_below(given)]:
        known = known_in(folder)
        line = _known_line(known, str(folder), parts_on_disk(known, folder)) if known else None
        lines.append(line or _line(prior_in(folder)))
    widths = [max(len(line.columns[i]) for line in lines) for i in range(len(_HEAD))]
    for line in lines:
        print(
            "  ".join(f"{text:<{width}}" for text, width in zip(line.columns, widths, strict=True)).rstrip()
        )
        if line.lacks:
            print(f"  lacks {', '.join(line.lacks)}")
    print(_NOTE)


def print_one(name: str) -> None:
    """All there is to say of one prior.

    Raises:
        UserError: it is neither known nor on this disk.
    """
    folder = Path(name).expanduser()
    known = CATALOGUE.get(name) or (known_in(folder) if folder.is_dir() else None)
    if known is not None:
        _print_known(known, parts_on_disk(known, None if name in CATALOGUE else folder))
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
    print(f"{found.name}: {gigabytes(found.disk_bytes)} in {found.folder}")
    print(f"licence {found.licence}; weights in graphics memory {gigabytes(found.weights_bytes)}")
    if found.lacks:
        print(f"lacks {', '.join(found.lacks)}")
    _print_files(found.folder)


def _print_known(prior: KnownPrior, there: list[PartOnDisk]) -> None:
    print(f"{prior.title}, views of {prior.image_size} x {prior.image_size} pixels")
    print(f"graphics memory, the least for {' / '.join(VRAM_MODES)}: {_memory(prior)} (counted)")
    for found in there:
        part = found.part
        optional = " (only with --with-ip-adapter)" if part is prior.ip_adapter else ""
        print(f"\n{part.repository}: {part.disk_gb:.2f} GB{optional}")
        print(f"  licence {part.licence.name}, {part.licence.url}")
        print(f"  {_state([found])}{f' in {found.folder}' if found.folder else ''}")
        if found.lacks:
            print(f"  lacks {', '.join(found.lacks)}")
        if found.folder:
            _print_files(found.folder)


def _print_files(folder: Path) -> None:
    record = read_record(folder)
    if record:
        files = [(file.path, file.size) for file in record.files]
    else:
        paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
        files = [(path.relative_to(folder).as_posix(), path.stat().st_size) for path in paths]
    for path, size in files:
        print(f"    {path} {gigabytes(size)}")


def _known_line(prior: KnownPrior, name: str, there: list[PartOnDisk]) -> _Line:
    needed = [found for found in there if found.part is not prior.ip_adapter]
    state = _state(needed)
    absent = [found.part.folder or "the base model" for found in needed if found.folder is None]
    lacks = [f"{found.part.folder}/{what}".lstrip("/") for found in needed for what in found.lacks]
    columns = (
        name,
        state,
        gigabytes(1e9 * sum(found.part.disk_gb for found in needed)),
        _memory(prior),
        f"{prior.image_size} px",
        ", ".join(dict.fromkeys(found.part.licence.name for found in needed)),
    )
    return _Line(columns, absent + lacks if state == "incomplete" else ())


def _line(found: PriorOnDisk, state: str = "installed") -> _Line:
    columns = (
        found.name,
        "incomplete" if found.lacks else state,
        gigabytes(found.disk_bytes),
        gigabytes(found.weights_bytes),
        f"{found.image_size} px" if found.image_size else "?",
        found.licence,
    )
    return _Line(columns, found.lacks)


def _state(parts: list[PartOnDisk]) -> str:
    if all(found.whole for found in parts):
        return "installed"
    return "incomplete" if any(found.folder for found in parts) else "not installed"


def _memory(prior: KnownPrior) -> str:
    return " / ".join(f"{prior.vram_gb(mode):.1f}" for mode in VRAM_MODES) + " GB"


def _priors_below(folder: Path) -> list[Path]:
    """The folder itself where it is a model, else the models in it."""
    folder = folder.expanduser()
    if (folder / "model_index.json").is_file() or not folder.is_dir():
        return [folder]
    return sorted(path.parent for path in folder.glob("*/model_index.json")) or [folder]
