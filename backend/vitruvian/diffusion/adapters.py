"""What is put on a base model: LoRAs fused into its weights, and an IP-Adapter beside its cross-attention."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vitruvian.core.errors import UserError
from vitruvian.diffusion.catalogue import KnownPrior
from vitruvian.diffusion.hub import download
from vitruvian.diffusion.parts import brief, load_part, quiet
from vitruvian.diffusion.pipeline import base_pipeline_of
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.recipe import AdapterSource, LoraSource
from vitruvian.diffusion.sources import check_weights_name, folder_or_hub, is_hub_id, weights_file
from vitruvian.diffusion.style import StyleAdapter, encode_pixels, set_weight

_FITS = "Use one that was trained on the same base: SD 1.5 and SDXL do not take each other's"
_ENCODER = "image_encoder"
_FIRST_HALF = re.compile(r"(lora_down|lora\.down|lora_A|lora_linear_layer\.down)(\.\w+)?\.weight$")


def lora_file(source: LoraSource) -> Path:
    """Where the weights of a LoRA lie; from the hub, only that file is downloaded.

    Raises:
        UserError: not there, or no .safetensors file.
    """
    if source.model is None:
        return weights_file("prior.loras", Path(source.file).expanduser())
    if Path(source.model).expanduser().is_dir() or not is_hub_id(source.model):
        return weights_file("prior.loras", folder_or_hub("prior.loras", source.model) / source.file)
    check_weights_name("prior.loras", source.file)
    return weights_file("prior.loras", download(source.model, (source.file,)) / source.file)


def fuse_lora(prior: Prior, file: Path, weight: float) -> None:
    """Add a LoRA (Hu et al. 2022) to the weights of UNet and text encoders: it costs nothing from then on.

    Any of the layouts that diffusers reads: its own, peft's, Kohya's.

    Raises:
        UserError: it cannot be read, or it is not for this base.
    """
    tensors = read_weights("prior.loras", file)
    pipeline: Any = base_pipeline_of(prior)
    networks = [prior.unet, prior.text_encoder, prior.text_encoder_2]
    try:
        with quiet():
            pipeline.load_lora_weights(tensors, adapter_name="lora")
        placed = sum(_changed_layers(network) for network in networks if network is not None)
        if placed:
            pipeline.fuse_lora(components=pipeline._lora_loadable_modules, lora_scale=weight)
        pipeline.unload_lora_weights()
    except Exception as error:  # of many types; whichever it is, these weights have no place here
        raise UserError(
            "prior.loras", str(file), f"does not fit {prior.name} ({brief(error)})", _FITS
        ) from error
    held = sum(bool(_FIRST_HALF.search(key)) for key in tensors)
    if placed < held or not held:
        lost = (
            f"{held - placed} of its {held} layers have no place there" if held else "it holds no LoRA layers"
        )
        raise UserError("prior.loras", str(file), f"does not fit {prior.name} ({lost})", _FITS)


def _changed_layers(network: Any) -> int:
    from peft.tuners.tuners_utils import BaseTunerLayer

    return sum(isinstance(module, BaseTunerLayer) for module in network.modules())


def read_weights(field: str, file: Path) -> dict[str, Tensor]:
    """The tensors of a .safetensors file.

    Raises:
        UserError: it cannot be read.
    """
    from safetensors.torch import load_file

    try:
        return load_file(file)
    except Exception as error:  # its own type, and those of the system
        raise UserError(field, str(file), f"cannot be read ({brief(error)})", "Download it again") from error


def adapter_files(source: AdapterSource, family: KnownPrior | None) -> tuple[Path, Path]:
    """The weights of an IP-Adapter, and the folder of its image encoder.

    Raises:
        UserError: neither is named nor known, or something is missing.
    """
    if source.model is None:
        if family is None:
            raise UserError("prior.ip_adapter.model", None, "is missing", "Name a folder or hub id")
        known = family.ip_adapter
        folder = download(known.repository, known.files)
        return folder / family.ip_adapter_weights, folder / family.image_encoder
    local = Path(source.model).expanduser()
    if local.is_dir():
        file = _weights_in(local, source.file)
        return file, local / source.image_encoder if source.image_encoder else _encoder_in(local, file)
    if source.file is None:
        raise UserError(
            "prior.ip_adapter.file", None, "is missing", f"Say which file of {source.model} is meant"
        )
    check_weights_name("prior.ip_adapter.file", source.file)
    encoder = source.image_encoder or (Path(source.file).parent / _ENCODER).as_posix()
    wanted = (source.file, f"{encoder}/config.json", f"{encoder}/model.safetensors")
    if not is_hub_id(source.model):
        folder_or_hub("prior.ip_adapter.model", source.model)
    folder = download(source.model, wanted)
    return weights_file("prior.ip_adapter.file", folder / source.file), folder / encoder


def _weights_in(folder: Path, name: str | None) -> Path:
    if name is not None:
        return weights_file("prior.ip_adapter.file", folder / name)
    found = [p for p in sorted(folder.rglob("*.safetensors")) if _ENCODER not in p.relative_to(folder).parts]
    if len(found) != 1:
        what = f"holds {len(found)} .safetensors files"
        raise UserError("prior.ip_adapter.model", str(folder), what, 'Name the one that is meant as "file"')
    return found[0]


def _encoder_in(folder: Path, weights: Path) -> Path:
    """Beside the weights; or, as IP-Adapter's own repository has it for SDXL, the only one in `folder`."""
    beside = weights.parent / _ENCODER
    inside = [path for path in folder.rglob(_ENCODER) if path.is_dir()]
    return inside[0] if not beside.is_dir() and len(inside) == 1 else beside


def add_ip_adapter(prior: Prior, file: Path, encoder_folder: Path, scale: float) -> StyleAdapter:
    """Put an IP-Adapter into the prior's UNet, at weight 0.

    Raises:
        UserError: weights or image encoder cannot be read, or are not for this base.
    """
    state: dict[str, dict[str, Tensor]] = {"image_proj": {}, "ip_adapter": {}}
    for key, value in read_weights("prior.ip_adapter.file", file).items():
        part, _, name = key.partition(".")
        if part in state:
            state[part][name] = value
    if not all(state.values()):
        raise UserError("prior.ip_adapter.file", str(file), "is no IP-Adapter", "Give an ip-adapter_... file")
    if not encoder_folder.is_dir():
        raise UserError(
            "prior.ip_adapter.image_encoder",
            str(encoder_folder),
            "is not there",
            "Copy the image encoder that the adapter was trained with beside it",
        )
    image_encoder = load_part("image_encoder", encoder_folder, prior.dtype)
    pipeline: Any = base_pipeline_of(prior)
    processor = _processor(encoder_folder, int(image_encoder.config.image_size))
    pipeline.register_modules(image_encoder=image_encoder, feature_extractor=processor)
    try:
        with quiet():
            pipeline.load_ip_adapter(state, subfolder="", weight_name="", image_encoder_folder=None)
        tokens, blank = _try_out(prior.unet, image_encoder, state["ip_adapter"])
    except Exception as error:  # of many types; whichever it is, these weights have no place here
        what = f"does not fit {prior.name} ({brief(error)})"
        raise UserError("prior.ip_adapter.file", str(file), what, _FITS) from error
    set_weight(prior.unet, 0.0)
    return StyleAdapter(image_encoder, processor, tokens, scale, blank)


def _try_out(unet: Any, image_encoder: Any, layers: dict[str, Tensor]) -> tuple[bool, Tensor]:
    """Whether the adapter reads all tokens, and what it is told where there is no picture."""
    from diffusers.models.embeddings import ImageProjection

    read = sum(hasattr(processor, "to_k_ip") for processor in unet.attn_processors.values())
    if 2 * read != len(layers):
        raise ValueError(f"it is for {len(layers) // 2} layers, the UNet has {read}")
    (projection,) = unet.encoder_hid_proj.image_projection_layers
    tokens = not isinstance(projection, ImageProjection)
    side = int(image_encoder.config.image_size)
    blank = encode_pixels(image_encoder, torch.zeros(1, 3, side, side), tokens)
    with torch.no_grad():
        projection(blank)  # raises if the image encoder is another one
    return tokens, blank if tokens else torch.zeros_like(blank)


def _processor(folder: Path, side: int) -> Any:
    """Its own settings where they are published beside it, else those of CLIP at the encoder's size."""
    import transformers

    # Named so where the plain name stands for one that needs torchvision.
    kind = getattr(transformers, "CLIPImageProcessorPil", None) or transformers.CLIPImageProcessor
    if (folder / "preprocessor_config.json").is_file():
        return kind.from_pretrained(folder, local_files_only=True)
    return kind(size={"shortest_edge": side}, crop_size={"height": side, "width": side})
