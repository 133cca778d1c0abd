"""What of a prior lies on this disk: which parts are whole, and whether their bytes are those of the hub."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

RECORD = ".vitruvian_files"
"""Beside what was fetched: its checksums, so that it can be verified without asking anybody."""
HALF_PRECISION = ".fp16"
_NETWORKS = ("vae", "unet", "text_encoder")
_SECOND_ENCODER = ("text_encoder_2", "tokenizer_2")
_READ_BYTES = 1 << 22


@dataclass(frozen=True)
class HubFile:
    """One file of a repository, as the hub describes it."""

    path: str
    size: int
    sha256: str | None
    """Of files in large-file storage; all weights are."""
    git_sha1: str | None
    """Git's name for the content of small ones."""


@dataclass(frozen=True)
class Listing:
    """The wanted files of a repository at one commit."""

    repository: str
    commit: str
    files: tuple[HubFile, ...]
    licence: str | None = None
    """As the repository itself names it."""

    @property
    def bytes(self) -> int:
        return sum(file.size for file in self.files)


def cached(repository: str, files: Sequence[str] = ()) -> Path | None:
    """The folder of a repository that is whole in the hub's cache; asks nobody."""
    folder = cached_folder(repository)
    return folder if folder and not lacking(folder, files) else None


def cached_folder(repository: str) -> Path | None:
    """The folder of a repository in the hub's cache, whole or not; asks nobody."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    try:
        # No pattern is met: the library then finds nothing missing, which is for `lacking` to say.
        return Path(snapshot_download(repository, local_files_only=True, allow_patterns=[RECORD]))
    except (LocalEntryNotFoundError, HFValidationError):
        return None


def storage_folder(repository: str) -> Path:
    """Where the hub's cache keeps a repository: every revision of it, and what is still being fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE).expanduser() / f"models--{repository.replace('/', '--')}"


def lacking(folder: Path, files: Sequence[str] = ()) -> list[str]:
    """What a downloaded repository lacks, by name; nothing: it is whole.

    A file that is being downloaded has another name until it is complete, so one that is there is whole.

    Args:
        files: patterns that must each be met; none: a pipeline if it has a model_index.json, else a network.
    """
    if files:
        there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        return [pattern for pattern in files if not any(is_meant(pattern, path) for path in there)]
    if not (folder / "model_index.json").is_file():
        return _network_lacks(folder)
    index = _json(folder / "model_index.json")
    second = [part for part in _SECOND_ENCODER if (index.get(part) or [None])[0]]
    networks = (*_NETWORKS, *(part for part in second if part.startswith("text_encoder")))
    lacks = [f"{part}/{what}" for part in networks for what in _network_lacks(folder / part)]
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        lacks.append("scheduler/scheduler_config.json")
    for part in ("tokenizer", *(part for part in second if part.startswith("tokenizer"))):
        if not any((folder / part / name).is_file() for name in ("vocab.json", "tokenizer.json")):
            lacks.append(f"{part}/vocab.json")
    return lacks


def is_meant(pattern: str, path: str) -> bool:
    """Whether a pattern means a file of a repository; names may hold brackets, too."""
    return path == pattern or fnmatch(path, pattern)


def weights_variant(folder: Path) -> str | None:
    """The libraries' name for weights that are there in half precision only: "fp16", else None."""
    names = [path.name for path in folder.glob("*.safetensors")]
    return "fp16" if names and all(HALF_PRECISION in name for name in names) else None


def write_record(folder: Path, listing: Listing) -> None:
    """Keep a listing beside its files, and what was fetched earlier of the same commit with it.

    A folder that others share and may not be written in goes without.
    """
    earlier = read_record(folder)
    if earlier and earlier.commit == listing.commit:
        files = {file.path: file for file in (*earlier.files, *listing.files)}
        listing = replace(listing, files=tuple(files.values()))
    try:
        (folder / RECORD).write_text(json.dumps(asdict(listing), indent=1), encoding="utf-8")
    except PermissionError:
        return


def read_record(folder: Path) -> Listing | None:
    """What `write_record` kept; None where there is nothing, or nothing that can be read."""
    content = _json(folder / RECORD)
    try:
        files = tuple(HubFile(**file) for file in content["files"])
        return Listing(content["repository"], content["commit"], files, content.get("licence"))
    except (KeyError, TypeError):
        return None


def damage(
    files: Iterable[HubFile],
    path_of: Callable[[HubFile], Path],
    count: Callable[[int], None] = lambda size: None,
) -> Iterator[tuple[HubFile, str]]:
    """The files that are not what the hub says they are, each with what is wrong; reads every byte.

    Args:
        path_of: where a file should lie.
        count: told how many bytes were read since it was last called.
    """
    for file in files:
        path = path_of(file)
        if not path.is_file():
            yield file, "is missing"
        elif path.stat().st_size != file.size:
            yield file, f"has {path.stat().st_size} of {file.size} bytes"
        elif not _is_content(path, file, count):
            yield file, "has another checksum than on the hub"


def _is_content(path: Path, file: HubFile, count: Callable[[int], None]) -> bool:
    if file.sha256:
        digest, expected = hashlib.sha256(), file.sha256
    elif file.git_sha1:
        digest = hashlib.sha1(f"blob {file.size}\0".encode(), usedforsecurity=False)
        expected = file.git_sha1
    else:
        return True  # An old mirror that tells sizes only.
    with path.open("rb") as stream:
        while chunk := stream.read(_READ_BYTES):
            digest.update(chunk)
            count(len(chunk))
    return digest.hexdigest() == expected


def _network_lacks(folder: Path) -> list[str]:
    lacks = [] if (folder / "config.json").is_file() else ["config.json"]
    indices = list(folder.glob("*.safetensors.index*.json"))
    shards = {shard for index in indices for shard in set(_json(index).get("weight_map", {}).values())}
    lacks += sorted(shard for shard in shards if not (folder / shard).is_file())
    if not shards and not any(folder.glob("*.safetensors")):
        lacks.append("*.safetensors")
    return lacks


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
