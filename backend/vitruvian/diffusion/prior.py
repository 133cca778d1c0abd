"""Load an image prior: a folder or hub id in diffusers' layout, with its ControlNets. Safetensors only."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch

from vitruvian.core.errors import UserError
from vitruvian.diffusion.catalogue import CATALOGUE
from vitruvian.diffusion.hub import download
from vitruvian.diffusion.installed import weights_variant

BUNDLED = Path(__file__).parent.parent / "assets" / "mini"
PARTS = ("vae", "unet", "text_encoder", "tokenizer", "scheduler")
CONTROLNET_PREFIX = "controlnet_"
SD15_TEXT_WIDTH = 768

Prediction = Literal["epsilon", "v_prediction", "flow", "sample"]
"""What a network says: the noise, Salimans and Ho's v, flow matching's velocity, or x0 itself."""


@dataclass(frozen=True)
class Prior:
    """A latent diffusion model in Stable Diffusion's shape, ready to be evaluated."""

    name: str
    vae: Any
    """AutoencoderKL."""
    unet: Any
    """UNet2DConditionModel."""
    text_encoder: Any
    """CLIPTextModel."""
    tokenizer: Any
    scheduler: Mapping[str, Any]
    """The scheduler's config: the noise schedule that the UNet was trained on."""
    controlnets: Mapping[str, Any]
    """ControlNetModel by condition: "depth", "normal", "pose"."""
    prediction: Prediction
    image_size: int
    """Width and height in pixels that it was trained on."""
    hash: str
    """SHA-256 over its files."""
    device: torch.device
    dtype: torch.dtype
    """Of UNet, ControlNets and text encoder. The autoencoder is kept in float32: it makes the pictures."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """`prior.json` of a prior that this project trained."""

    @property
    def factor(self) -> int:
        """Pixels per latent cell along each axis."""
        return 2 ** (len(self.vae.config.block_out_channels) - 1)


def load_prior(
    name_or_path: str | Path = "mini", device: torch.device | str = "cpu", dtype: torch.dtype | None = None
) -> Prior:
    """Load "mini" (bundled), "sd15", a folder in diffusers' layout, or a hub id.

    Args:
        dtype: of the networks but the autoencoder; None takes what the device is fast at.

    Raises:
        UserError: unknown or incomplete prior, corrupt weights, an unsupported layout, or no connection.
    """
    device = torch.device(device)
    dtype = dtype or quick_dtype(device)
    folder = _folder_of(str(name_or_path))
    _check_layout(str(name_or_path), folder)
    control_folders = _control_folders(folder)
    loaded = {
        part: _load_part(part, folder / part, torch.float32 if part == "vae" else dtype) for part in PARTS
    }
    controlnets = {name: _load_part("controlnet", path, dtype) for name, path in control_folders.items()}
    for model in (loaded["vae"], loaded["unet"], loaded["text_encoder"], *controlnets.values()):
        # Channels last: convolutions run about 1.4 times as fast on CPUs, and no slower on graphics cards.
        model.to(device, memory_format=torch.channels_last).eval().requires_grad_(False)
    card = _read_json(folder / "prior.json") if (folder / "prior.json").is_file() else {}
    factor = 2 ** (len(loaded["vae"].config.block_out_channels) - 1)
    return Prior(
        name=str(name_or_path),
        vae=loaded["vae"],
        unet=loaded["unet"],
        text_encoder=loaded["text_encoder"],
        tokenizer=loaded["tokenizer"],
        scheduler=loaded["scheduler"],
        controlnets=controlnets,
        prediction=prediction_of(loaded["scheduler"]),
        image_size=int(card.get("image_size", loaded["unet"].config.sample_size * factor)),
        hash=_hash_folders([folder / part for part in PARTS] + list(control_folders.values())),
        device=device,
        dtype=dtype,
        card=card,
    )


def quick_dtype(device: torch.device) -> torch.dtype:
    """The shortest floats that `device` computes faster than float32 ones.

    With bfloat16 instructions processors take about 0.6 of the time; without them bfloat16 is slower.
    """
    if device.type != "cpu":
        return torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def prediction_of(config: Mapping[str, Any]) -> Prediction:
    """What a network predicts, by its scheduler's config; flow schedulers name no type but have a class.

    Raises:
        UserError: a prediction type that nothing here can turn into x0.
    """
    kind = config.get("prediction_type")
    if (
        kind in ("flow", "flow_prediction")
        or "FlowMatch" in str(config.get("_class_name", ""))
        or "shift" in config
    ):
        return "flow"
    match kind:
        case None:
            return "epsilon"
        case "epsilon" | "v_prediction" | "sample":
            return kind
        case _:
            raise UserError(
                "prior.prediction_type", kind, "is unknown", "Use an eps-, v- or flow-prediction model"
            )


def _folder_of(name: str) -> Path:
    """Where the files of a prior are; hub priors are downloaded on first use.

    Raises:
        UserError: neither a known name, nor a folder, nor a hub id; or the download failed.
    """
    if name == "mini":
        if not (BUNDLED / "model_index.json").is_file():
            raise UserError("prior", name, "is not in this installation", "Install the package again")
        return BUNDLED
    path = Path(name).expanduser()
    if name and path.is_dir():
        return path
    if name in CATALOGUE:
        return download(CATALOGUE[name].base.repository)
    # A hub id has exactly one slash and no path syntax.
    if name.count("/") == 1 and not name.startswith((".", "~", "/")) and name.strip("/") == name:
        return download(name)
    known = ", ".join(["mini", *CATALOGUE])
    raise UserError(
        "prior", name, "is unknown", f"Use one of {known}, a folder, or a hub id like owner/model"
    )


def _check_layout(name: str, folder: Path) -> None:
    index = folder / "model_index.json"
    if not index.is_file():
        raise UserError("prior", name, "has no model_index.json", "Give a folder in diffusers' layout")
    if "text_encoder_2" in _read_json(index):
        raise UserError(
            "prior",
            name,
            "has a second text encoder, which is not supported yet",
            "Use mini or a model like SD 1.5",
        )
    missing = [part for part in PARTS if not (folder / part).is_dir()]
    if missing:
        raise UserError(
            "prior", name, f"lacks {', '.join(missing)}", "Copy or download the whole model folder again"
        )


def _control_folders(folder: Path) -> dict[str, Path]:
    """The ControlNets beside the UNet; for a bare model in SD 1.5's shape, the public ones.

    Raises:
        UserError: there are none, so nothing would tie the picture to the body.
    """
    own = {
        p.name.removeprefix(CONTROLNET_PREFIX): p
        for p in sorted(folder.glob(f"{CONTROLNET_PREFIX}*"))
        if p.is_dir()
    }
    if own:
        return own
    if _read_json(folder / "unet" / "config.json").get("cross_attention_dim") == SD15_TEXT_WIDTH:
        return {name: download(part.repository) for name, part in CATALOGUE["sd15"].controlnets.items()}
    raise UserError(
        "prior", str(folder), "has no ControlNets", "Add folders controlnet_depth and controlnet_normal to it"
    )


def _load_part(part: str, folder: Path, dtype: torch.dtype) -> Any:
    """One component of a prior.

    Raises:
        UserError: files are missing, corrupt, or do not hold what the config promises.
    """
    remedy = "Copy or download the model again; weights must be .safetensors"
    try:
        loaded = _LOADERS[part](folder, dtype)
    except UserError:
        raise
    except (
        Exception
    ) as error:  # The libraries raise many types here; whichever it is, these files cannot be used.
        detail = " ".join(str(error).split())[:200]
        raise UserError(f"prior.{part}", str(folder), f"cannot be loaded ({detail})", remedy) from error
    if not isinstance(loaded, tuple):
        return loaded
    model, info = loaded
    absent = sorted(info["missing_keys"]) + sorted(str(key) for key in info.get("mismatched_keys", ()))
    if absent:
        raise UserError(
            f"prior.{part}", str(folder), f"lacks weights ({absent[0]} and {len(absent) - 1} more)", remedy
        )
    return model


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


def _load_text_encoder(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import CLIPTextModel
    from transformers.utils import logging

    logging.disable_progress_bar()
    return CLIPTextModel.from_pretrained(
        folder,
        dtype=dtype,
        variant=weights_variant(folder),
        use_safetensors=True,
        local_files_only=True,
        output_loading_info=True,
    )


def _load_tokenizer(folder: Path, dtype: torch.dtype) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(folder, local_files_only=True)


_LOADERS: dict[str, Callable[[Path, torch.dtype], Any]] = {
    "vae": _load_model("AutoencoderKL"),
    "unet": _load_model("UNet2DConditionModel"),
    "controlnet": _load_model("ControlNetModel"),
    "text_encoder": _load_text_encoder,
    "tokenizer": _load_tokenizer,
    "scheduler": lambda folder, dtype: _read_json(folder / "scheduler_config.json"),
}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(
            "prior", str(path), f"cannot be read ({error})", "Copy or download the model again"
        ) from None


def _hash_folders(folders: list[Path]) -> str:
    """SHA-256 over names and contents of the files that were loaded, in a fixed order."""
    total = hashlib.sha256()
    for folder in folders:
        for path in sorted(
            p for p in folder.iterdir() if p.is_file() and p.suffix in (".json", ".safetensors", ".txt")
        ):
            total.update(f"{folder.name}/{path.name}".encode())
            with path.open("rb") as file:
                total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()
