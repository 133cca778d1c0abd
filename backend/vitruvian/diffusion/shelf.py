"""Which priors this machine has: the known ones part by part, and others in the hub's cache or in folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

from vitruvian.core.errors import UserError
from vitruvian.diffusion.catalogue import BUNDLED, CATALOGUE, KnownPart, KnownPrior
from vitruvian.diffusion.installed import (
    RECORD,
    cached_folder,
    lacking,
    read_record,
    storage_folder,
)

_IN_FLOAT32 = ("vae", "vae_tiny")


@dataclass(frozen=True)
class PartOnDisk:
    """One part of a known prior, and what there is of it."""

    part: KnownPart
    folder: Path | None
    """None: nothing of it is here."""
    lacks: tuple[str, ...]

    @property
    def whole(self) -> bool:
        return self.folder is not None and not self.lacks


@dataclass(frozen=True)
class PriorOnDisk:
    """A prior that was found, known or not."""

    name: str
    folder: Path
    disk_bytes: int
    weights_bytes: int
    """Of its networks on a graphics card: float16, autoencoders float32."""
    image_size: int | None
    licence: str
    lacks: tuple[str, ...]


def parts_on_disk(prior: KnownPrior, root: Path | None = None) -> list[PartOnDisk]:
    """Every part of a known prior, the optional one last; in the hub's cache, or below `root`."""
    found = []
    for part in prior.parts(with_ip_adapter=True):
        folder = cached_folder(part.repository) if root is None else root / part.folder
        if folder is None or not folder.is_dir():
            found.append(PartOnDisk(part, None, ()))
        else:
            found.append(PartOnDisk(part, folder, tuple(lacking(folder, part.files))))
    return found


def missing_gb(name: str) -> float:
    """What painting with a prior would download first, in GB; 0 for one that is here or not known by name."""
    if name not in CATALOGUE:
        return 0.0
    prior = CATALOGUE[name]
    needed = (found for found in parts_on_disk(prior) if found.part is not prior.ip_adapter)
    return sum(found.part.disk_gb for found in needed if not found.whole)


def other_priors() -> Iterator[PriorOnDisk]:
    """Pipelines in the hub's cache that the catalogue does not know."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    try:
        repositories = scan_cache_dir().repos
    except CacheNotFound:
        return
    known = {part.repository for prior in CATALOGUE.values() for part in prior.parts(with_ip_adapter=True)}
    for name in sorted(r.repo_id for r in repositories if r.repo_type == "model" and r.repo_id not in known):
        folder = cached_folder(name)
        if folder and (folder / "model_index.json").is_file():
            yield prior_in(folder, name)


def prior_in(folder: Path, name: str | None = None) -> PriorOnDisk:
    """What a folder in diffusers' layout holds; reads the heads of its weights only.

    Raises:
        UserError: it is none.
    """
    if not (folder / "model_index.json").is_file():
        raise UserError("prior", str(folder), "has no model_index.json", "Give a folder in diffusers' layout")
    config = _json(folder / "unet" / "config.json")
    autoencoder = _json(folder / "vae" / "config.json")
    card = _json(folder / "prior.json")
    factor = 2 ** (len(autoencoder.get("block_out_channels", ())) - 1)
    sample_size = config.get("sample_size")
    image_size = card.get("image_size") or (sample_size and int(sample_size * factor))
    weights = [path for path in folder.rglob("*.safetensors") if ".cache" not in path.parts]
    return PriorOnDisk(
        name=name or str(folder),
        folder=folder,
        disk_bytes=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        weights_bytes=sum(_parameters(p) * (4 if p.parent.name in _IN_FLOAT32 else 2) for p in weights),
        image_size=image_size or None,
        licence=_licence(folder),
        lacks=tuple(lacking(folder)),
    )


def known_in(folder: Path) -> KnownPrior | None:
    """Which known prior was downloaded into a folder."""
    record = read_record(folder)
    if record is None:
        return None
    return next((p for p in CATALOGUE.values() if p.base.repository == record.repository), None)


def removable(name: str) -> list[Path]:
    """What `remove` would delete: folders of the hub's cache, or the downloaded files of a folder.

    What another installed prior needs as well is left out.

    Raises:
        UserError: nothing of that name is here, or the folder was not made by a download.
    """
    folder = Path(name).expanduser()
    if name in CATALOGUE:
        needed = {
            found.part.repository
            for other in CATALOGUE.values()
            if other.name != name and parts_on_disk(other)[0].folder
            for found in parts_on_disk(other)
        }
        repositories = [part.repository for part in CATALOGUE[name].parts(with_ip_adapter=True)]
        paths = [storage_folder(repository) for repository in repositories if repository not in needed]
    elif folder.is_dir():
        paths = list(_downloaded_files(folder))
        if not paths:
            raise UserError("prior", name, "was not downloaded by this command", "Delete the folder yourself")
    else:
        paths = [storage_folder(name)]
    paths = [path for path in paths if path.exists()]
    if not paths:
        raise UserError("prior", name, "is not on this disk", "See `vitruvian priors list`")
    return paths


def remove(paths: list[Path]) -> None:
    """Delete what `removable` named, and folders that are empty then."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    for folder in sorted(
        {parent for path in paths for parent in (path.parent, path.parent.parent)}, reverse=True
    ):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def size_of(paths: list[Path]) -> int:
    """Bytes on disk of files and folders; links count nothing."""
    files = (file for path in paths for file in ([path] if path.is_file() else path.rglob("*")))
    return sum(file.lstat().st_size for file in files if file.is_file() and not file.is_symlink())


def _downloaded_files(folder: Path) -> Iterator[Path]:
    for part in (folder, *(path for path in folder.iterdir() if path.is_dir())):
        if record := read_record(part):
            yield from (part / file.path for file in record.files)
            yield part / ".cache"
            yield part / RECORD


def _parameters(weights: Path) -> int:
    """How many numbers a file of weights holds, by its head."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as tensors:
            names = tensors.keys()
            total = sum(prod(tensors.get_slice(name).get_shape()) for name in names)
    except (SafetensorError, OSError):
        return 0
    return total


def _licence(folder: Path) -> str:
    """As the model's card names it."""
    from huggingface_hub import metadata_load

    if folder == BUNDLED:
        return "Apache-2.0"
    card = folder / "README.md"
    licence = (metadata_load(card) or {}).get("license") if card.is_file() else None
    return str(licence) if licence else "see its model card"


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
