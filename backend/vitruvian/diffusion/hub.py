"""Priors that live on the Hugging Face hub: which, and how they get here. Only on the user's own choice."""

from __future__ import annotations

from pathlib import Path

from vitruvian.core.errors import UserError

HUB_PRIORS: dict[str, str] = {
    "sd15": "stable-diffusion-v1-5/stable-diffusion-v1-5",
}
SD15_CONTROLNETS: dict[str, str] = {
    "depth": "lllyasviel/control_v11f1p_sd15_depth",
    "normal": "lllyasviel/control_v11p_sd15_normalbae",
    "pose": "lllyasviel/control_v11p_sd15_openpose",
}

# Plain weights only: repositories also hold half-precision and non-averaged variants, and pickles.
_WANTED = [
    "*.json",
    "*.txt",
    "*/model.safetensors",
    "*/diffusion_pytorch_model.safetensors",
    "diffusion_pytorch_model.safetensors",
    "*/*-of-*.safetensors",
]
_UNWANTED = ["safety_checker/*", "*.fp16*", "*.non_ema*"]


def download(repository: str) -> Path:
    """The local folder of a hub repository: from the cache, or downloaded (with progress; resumes).

    Raises:
        UserError: no connection, no such repository, or no access to it.
    """
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    try:
        return Path(snapshot_download(repository, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
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
