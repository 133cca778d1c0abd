"""Priors on the Hugging Face hub: which of their files are wanted. Only by the user's own choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from glob import escape
from pathlib import Path, PurePosixPath

from vitruvian.core.errors import UserError
from vitruvian.diffusion.hub_errors import explained
from vitruvian.diffusion.installed import (
    HALF_PRECISION,
    HubFile,
    Listing,
    cached,
    damage,
    is_meant,
    read_record,
)
from vitruvian.diffusion.transfer import Bar, fetch

_FOLDERS = (
    "scheduler",
    "text_encoder",
    "text_encoder_2",
    "tokenizer",
    "tokenizer_2",
    "unet",
    "vae",
    "vae_tiny",
)
_FOLDER_PREFIX = "controlnet_"
_WEIGHTS = ("model", "diffusion_pytorch_model")
_FULL_PRECISION = ("vae", "vae_tiny")
"""Evaluated in float32, so fetched in it. The other networks compute in half precision on a graphics card."""


def download(repository: str, files: Sequence[str] = ()) -> Path:
    """The local folder of a hub repository: from the cache, or fetched there and verified; resumes.

    Args:
        files: patterns of the only files wanted; none: what a model in diffusers' layout needs.

    Raises:
        UserError: no connection, no such repository, no access to it, or no room.
    """
    return cached(repository, files) or fetch(listing(repository, files))


def listing(repository: str, files: Sequence[str] = (), commit: str | None = None) -> Listing:
    """What the hub says of a repository: its wanted files with their sizes and checksums, and its licence.

    Args:
        files: as in `download`.
        commit: of which state; None is the newest.

    Raises:
        UserError: no connection, no such repository, no access to it, or no weights that can be loaded.
    """
    from huggingface_hub import HfApi

    with explained(repository):
        info = HfApi().model_info(repository, revision=commit, files_metadata=True)
        if info.gated:
            HfApi().auth_check(repository)  # Now, not after the first files.
    siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
    wanted = wanted_files(siblings)
    if files:
        wanted = sorted(path for path in siblings if any(is_meant(pattern, path) for pattern in files))
        absent = [pattern for pattern in files if not any(is_meant(pattern, path) for path in siblings)]
        if absent:
            raise UserError("prior", repository, f"has no {', '.join(absent)}", "See its files on the hub")
    elif not any(path.endswith(".safetensors") for path in wanted):
        raise UserError(
            "prior",
            repository,
            "has no weights in diffusers' layout as .safetensors",
            "Choose another model, or fetch its single file and give that (docs/priors.md)",
        )
    return Listing(
        repository,
        str(info.sha),
        tuple(
            HubFile(path, s.size or 0, s.lfs.sha256 if s.lfs else None, None if s.lfs else s.blob_id)
            for path, s in ((path, siblings[path]) for path in wanted)
        ),
        (info.card_data or {}).get("license"),
    )


def verify(repository: str, folder: Path) -> tuple[Listing, list[tuple[HubFile, str]]]:
    """Compare every byte of a downloaded repository with the checksums kept beside it, else with the hub's.

    Returns:
        What was compared, and each damaged file with what is wrong.

    Raises:
        UserError: no checksums are kept here, and the hub cannot be asked.
    """
    expected = read_record(folder)
    if expected is None:
        there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        expected = listing(repository, [escape(path) for path in there], commit=folder.name)
    with Bar(repository, expected.bytes) as bar:
        return expected, list(damage(expected.files, lambda file: folder / file.path, bar.count))


def wanted_files(paths: Iterable[str]) -> list[str]:
    """Of all files of a model's repository, those that loading it reads: configs, vocabularies, one set of
    safetensors weights a network (half precision where there is one, but for autoencoders)."""
    by_folder: dict[str, list[PurePosixPath]] = {}
    for path in map(PurePosixPath, paths):
        by_folder.setdefault(path.parent.as_posix(), []).append(path)
    return sorted(
        path.as_posix()
        for folder, members in by_folder.items()
        if folder == "." or folder in _FOLDERS or folder.startswith(_FOLDER_PREFIX)
        for path in _wanted_of(folder, members)
    )


def _wanted_of(folder: str, members: list[PurePosixPath]) -> list[PurePosixPath]:
    weights = [
        path
        for path in members
        if path.name.startswith(tuple(f"{stem}{mark}" for stem in _WEIGHTS for mark in ".-"))
        and (path.suffix == ".safetensors" or ".safetensors.index" in path.name)
        and ".non_ema" not in path.name
    ]
    half = [path for path in weights if HALF_PRECISION in path.name]
    full = [path for path in weights if HALF_PRECISION not in path.name]
    chosen = (full or half) if folder in _FULL_PRECISION else (half or full)
    # A single file makes the shards beside it superfluous.
    chosen = [path for path in chosen if "-of-" not in path.name and ".index" not in path.name] or chosen
    others = [p for p in members if p.suffix in (".json", ".txt", ".md") and ".index" not in p.name]
    return chosen + others
