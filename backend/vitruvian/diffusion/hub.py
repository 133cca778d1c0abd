"""Priors on the Hugging Face hub: which of their files, and how they get here. Only by the user's choice."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from vitruvian.core.errors import UserError
from vitruvian.diffusion.installed import lacking

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
_HALF = ".fp16"
_FULL_PRECISION = ("vae", "vae_tiny")
"""Evaluated in float32, so fetched in it. The other networks compute in half precision on a graphics card."""


def download(repository: str, files: Sequence[str] = ()) -> Path:
    """The local folder of a hub repository: from the cache, or downloaded (with progress; resumes).

    Args:
        files: patterns of the only files wanted; none: what a model in diffusers' layout needs.

    Raises:
        UserError: no connection, no such repository, or no access to it.
    """
    return cached(repository, files) or _fetch(repository, files)


def cached(repository: str, files: Sequence[str] = ()) -> Path | None:
    """The folder of a repository that is whole in the hub's cache; asks nobody."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        # Names that every model has: the library then says nothing about files that were not wanted.
        folder = Path(
            snapshot_download(
                repository,
                local_files_only=True,
                allow_patterns=list(files) or ["model_index.json", "config.json"],
            )
        )
    except (LocalEntryNotFoundError, HFValidationError):
        return None
    return None if lacking(folder, files) else folder


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
    half = [path for path in weights if _HALF in path.name]
    full = [path for path in weights if _HALF not in path.name]
    chosen = (full or half) if folder in _FULL_PRECISION else (half or full)
    # A single file makes the shards beside it superfluous.
    chosen = [path for path in chosen if "-of-" not in path.name and ".index" not in path.name] or chosen
    others = [p for p in members if p.suffix in (".json", ".txt", ".md") and ".index" not in p.name]
    return chosen + others


def _fetch(repository: str, files: Sequence[str]) -> Path:
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        if not files:
            files = wanted_files(s.rfilename for s in HfApi().model_info(repository).siblings or ())
        return Path(snapshot_download(repository, allow_patterns=list(files)))
    except GatedRepoError:
        raise UserError(
            "prior",
            repository,
            "needs its licence accepted",
            "Accept it on huggingface.co, then log in with `hf auth login`",
        ) from None
    except (RepositoryNotFoundError, HFValidationError):
        raise UserError(
            "prior", repository, "is not on the hub", "Check the spelling, or give a folder"
        ) from None
    except (LocalEntryNotFoundError, OSError) as error:
        detail = " ".join(str(error).split())[:120]
        raise UserError(
            "prior",
            repository,
            f"cannot be downloaded ({detail})",
            "Connect to the internet once, or use mini",
        ) from error
