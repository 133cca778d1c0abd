"""Checkpoints that hold a whole model in one .safetensors file, in the layout of its first release."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from vitruvian.core.errors import UserError
from vitruvian.diffusion.catalogue import CATALOGUE
from vitruvian.diffusion.hub import cached, download
from vitruvian.diffusion.parts import REMEDY, brief, load_part, quiet
from vitruvian.diffusion.sources import folder_or_hub, parts_of

UNET_PREFIX = "model.diffusion_model."
CONFIGS = ("*.json", "*.txt")
"""What of a repository tells an architecture: a few megabytes, the tokenizers included."""
_FAMILIES = {"v1": "sd15", "xl_base": "sdxl"}
"""diffusers' names of what a checkpoint is, and ours."""


def load_single_file(path: Path, config: str | None, dtype: torch.dtype) -> dict[str, Any]:
    """All components that a folder in diffusers' layout would have given, by their names.

    Args:
        config: folder or hub id in diffusers' layout of the same architecture; None takes that of the family.

    Raises:
        UserError: no such checkpoint, another family, weights that are missing or do not fit, or no
            connection for the configuration.
    """
    keys = _keys(path)
    if not any(key.startswith(UNET_PREFIX) for key in keys):
        raise UserError(
            "prior",
            str(path),
            "is not a whole model in the original layout",
            "Give a checkpoint with UNet, autoencoder and text encoder; LoRAs belong into a recipe",
        )
    folder = folder_or_hub("prior.config", config) if config else _family_config(path)
    parts = parts_of(str(folder), folder)
    ready = {
        part: load_part(part, folder / part, dtype)
        for part in parts
        if part.startswith(("tokenizer", "scheduler"))
    }
    try:
        with quiet():
            networks = _networks(path, folder, parts, dtype)
    except UserError:
        raise
    except NotImplementedError as error:  # what torch says of layers that were not filled
        raise UserError("prior", str(path), "lacks weights that its architecture has", REMEDY) from error
    except Exception as error:  # The libraries raise many types here; the file cannot be used.
        raise UserError("prior", str(path), f"cannot be loaded ({brief(error)})", REMEDY) from error
    return {**ready, **networks}


def _networks(path: Path, folder: Path, parts: tuple[str, ...], dtype: torch.dtype) -> dict[str, Any]:
    import diffusers

    options: Any = {"config": str(folder), "local_files_only": True}
    vae = diffusers.AutoencoderKL.from_single_file(
        str(path), subfolder="vae", torch_dtype=torch.float32, **options
    )
    unet = diffusers.UNet2DConditionModel.from_single_file(
        str(path), subfolder="unet", torch_dtype=dtype, **options
    )
    _check_whole(path, {"vae": vae, "unet": unet})
    names = [part for part in parts if part.startswith("text_encoder")]
    two = len(names) == 2
    kind = diffusers.StableDiffusionXLPipeline if two else diffusers.StableDiffusionPipeline
    beside = {} if two else {"safety_checker": None, "requires_safety_checker": False}
    # Text encoders have no `from_single_file` of their own: the pipeline reads them, and is given the rest.
    pipeline = kind.from_single_file(str(path), vae=vae, unet=unet, torch_dtype=dtype, **beside, **options)
    encoders = {name: getattr(pipeline, name) for name in names}
    _check_whole(path, encoders)
    return {"vae": vae, "unet": unet, **encoders}


def _check_whole(path: Path, networks: dict[str, Any]) -> None:
    """Raises UserError if the file had no weights for some layer: it has none at all then."""
    for name, network in networks.items():
        absent = [key for key, value in network.named_parameters() if value.is_meta]
        if absent:
            what = f"lacks weights of the {name} ({absent[0]} and {len(absent) - 1} more)"
            raise UserError("prior", str(path), what, REMEDY)


def _family_config(path: Path) -> Path:
    from diffusers.loaders.single_file_utils import infer_diffusers_model_type, load_single_file_checkpoint

    kind = infer_diffusers_model_type(load_single_file_checkpoint(str(path)))
    if kind not in _FAMILIES:
        raise UserError(
            "prior",
            str(path),
            f'is of the family "{kind}", whose configuration is not known here',
            'Name a folder or hub id of it as "config" in a recipe (docs/priors.md)',
        )
    base = CATALOGUE[_FAMILIES[kind]].base.repository
    try:
        return cached(base) or cached(base, CONFIGS) or download(base, CONFIGS)
    except UserError as error:
        raise UserError(
            "prior",
            str(path),
            f"needs the configuration of {base}, which {error.problem}",
            'Connect to the internet once, or name an installed folder as "config" in a recipe',
        ) from error


def _keys(path: Path) -> list[str]:
    """Names of the tensors in a file.

    Raises:
        UserError: it cannot be read.
    """
    from safetensors import safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return list(file.keys())
    except Exception as error:  # its own type, and those of the system
        raise UserError("prior", str(path), f"cannot be read ({brief(error)})", REMEDY) from error
