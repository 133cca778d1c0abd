"""What of a prior lies on this disk: which of its parts are whole, told from the files alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from fnmatch import fnmatch
from pathlib import Path

NETWORKS = ("vae", "unet", "text_encoder")
SECOND_ENCODER = ("text_encoder_2", "tokenizer_2")
"""What models with two text encoders have besides."""
HALF_PRECISION = ".fp16"


def lacking(folder: Path, files: Sequence[str] = ()) -> list[str]:
    """What a downloaded repository lacks, by name; nothing: it is whole.

    A file that is being downloaded has another name until it is complete, so one that is there is whole.

    Args:
        files: patterns that must each be met; none: a pipeline if it has a model_index.json, else a network.
    """
    if files:
        there = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        return [pattern for pattern in files if not any(fnmatch(path, pattern) for path in there)]
    if not (folder / "model_index.json").is_file():
        return _network_lacks(folder)
    index = _json(folder / "model_index.json")
    second = [part for part in SECOND_ENCODER if index.get(part, [None])[0] is not None]
    lacks = [
        f"{part}/{what}"
        for part in (*NETWORKS, *(p for p in second if p in index and p.startswith("text_encoder")))
        for what in _network_lacks(folder / part)
    ]
    if not (folder / "scheduler" / "scheduler_config.json").is_file():
        lacks.append("scheduler/scheduler_config.json")
    for part in ("tokenizer", *(p for p in second if p.startswith("tokenizer"))):
        if not any((folder / part / name).is_file() for name in ("vocab.json", "tokenizer.json")):
            lacks.append(f"{part}/vocab.json")
    return lacks


def weights_variant(folder: Path) -> str | None:
    """The libraries' name for weights that are there in half precision only: "fp16", else None."""
    names = [path.name for path in folder.glob("*.safetensors")]
    return "fp16" if names and all(HALF_PRECISION in name for name in names) else None


def _network_lacks(folder: Path) -> list[str]:
    lacks = [] if (folder / "config.json").is_file() else ["config.json"]
    indices = list(folder.glob("*.safetensors.index*.json"))
    shards = {shard for index in indices for shard in set(_json(index).get("weight_map", {}).values())}
    lacks += sorted(shard for shard in shards if not (folder / shard).is_file())
    if not shards and not any(folder.glob("*.safetensors")):
        lacks.append("*.safetensors")
    return lacks


def _json(path: Path) -> dict:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
