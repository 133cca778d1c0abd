"""One component of a prior from its folder: what is there, what loads it, and what is wrong with it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from vitruvian.core.errors import UserError
from vitruvian.diffusion.installed import weights_variant

PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
SECOND_ENCODER = ("text_encoder_2", "tokenizer_2")
"""What SDXL's family has besides."""
FULL_PRECISION = ("vae", "vae_tiny")
"""They make the pictures; the other networks compute in the prior's own precision."""
UNION = "ControlNetUnionModel"
REMEDY = "Copy or download the model again; weights must be .safetensors"


def load_part(part: str, folder: Path, dtype: torch.dtype) -> Any:
    """One component.

    Args:
        part: a name of `PARTS` or `SECOND_ENCODER`, or "controlnet", "vae_tiny" or "image_encoder".
        dtype: of networks; those of `FULL_PRECISION` are float32 whatever is asked.

    Raises:
        UserError: files are missing, corrupt, or do not hold what the config promises.
    """
    try:
        loaded = _LOADERS[part](folder, torch.float32 if part in FULL_PRECISION else dtype)
    except UserError:
        raise
    except (
        Exception
    ) as error:  # The libraries raise many types here; whichever it is, these files cannot be used.
        raise UserError(f"prior.{part}", str(folder), f"cannot be loaded ({brief(error)})", REMEDY) from error
    if not isinstance(loaded, tuple):
        return loaded
    model, info = loaded
    absent = sorted(info["missing_keys"]) + sorted(str(key) for key in info.get("mismatched_keys", ()))
    if absent:
        raise UserError(
            f"prior.{part}", str(folder), f"lacks weights ({absent[0]} and {len(absent) - 1} more)", REMEDY
        )
    return model


@contextmanager
def quiet() -> Iterator[None]:
    """Without diffusers' bars and warnings: it tells of every part that a file leaves alone."""
    from diffusers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def brief(error: Exception) -> str:
    """What a library says, in one line that can be read."""
    return " ".join(str(error).split())[:200]


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a prior.

    Raises:
        UserError: no such file, not JSON, or no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            "prior", str(path), f"cannot be read ({error})", "Copy or download the model again"
        ) from None
    if not isinstance(content, dict):
        raise UserError("prior", str(path), "holds no JSON object", "Copy or download the model again")
    return content


def hash_files(sources: Iterable[Path]) -> str:
    """SHA-256 over names and contents of what was loaded, in the order given: files, and folders' files."""
    total = hashlib.sha256()
    for source in sources:
        for name, path in _files_of(source):
            total.update(name.encode())
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _files_of(source: Path) -> list[tuple[str, Path]]:
    if source.is_file():
        return [(source.name, source)]
    kinds = (".json", ".safetensors", ".txt")
    inside = sorted(p for p in source.iterdir() if p.is_file() and p.suffix in kinds)
    return [(f"{source.name}/{path.name}", path) for path in inside]


def _load_model(class_name: str) -> Callable[[Path, torch.dtype], Any]:
    def load(folder: Path, dtype: torch.dtype) -> Any:
        import diffusers

        return getattr(diffusers, class_name).from_pretrained(
            folder,
            torch_dtype=dtype,
            variant=weights_variant(folder),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )

    return load


def _load_controlnet(folder: Path, dtype: torch.dtype) -> Any:
    union = read_json(folder / "config.json").get("_class_name") == UNION
    return _load_model(UNION if union else "ControlNetModel")(folder, dtype)


def _load_clip(class_name: str) -> Callable[[Path, torch.dtype], Any]:
    def load(folder: Path, dtype: torch.dtype) -> Any:
        import transformers
        from transformers.utils import logging

        logging.disable_progress_bar()
        return getattr(transformers, class_name).from_pretrained(
            folder,
            dtype=dtype,
            variant=weights_variant(folder),
            use_safetensors=True,
            local_files_only=True,
            output_loading_info=True,
        )

    return load


def _load_tokenizer(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


_LOADERS: dict[str, Callable[[Path, torch.dtype], Any]] = {
    "vae": _load_model("AutoencoderKL"),
    "vae_tiny": _load_model("AutoencoderTiny"),
    "unet": _load_model("UNet2DConditionModel"),
    "controlnet": _load_controlnet,
    "text_encoder": _load_clip("CLIPTextModel"),
    "text_encoder_2": _load_clip("CLIPTextModelWithProjection"),
    "image_encoder": _load_clip("CLIPVisionModelWithProjection"),
    "tokenizer": _load_tokenizer,
    "tokenizer_2": _load_tokenizer,
    "scheduler": lambda folder, dtype: read_json(folder / "scheduler_config.json"),
}
