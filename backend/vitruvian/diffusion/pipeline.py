"""A prior as diffusers' own ControlNet pipeline: what ours is checked against, and timed against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sampling import SamplerName, make_scheduler


def pipeline_of(prior: Prior, sampler: SamplerName = "dpm++", conditions: Sequence[str] | None = None) -> Any:
    """diffusers' ControlNet pipeline around the modules of `prior` themselves, not copies.

    StableDiffusionControlNetPipeline, for two text encoders StableDiffusionXLControlNetPipeline, and with a
    union ControlNet StableDiffusionXLControlNetUnionPipeline (whose `control_mode` are `prior.union_types`).
    Ask it for latents (`output_type="latent"`) where `prior.dtype` is not float32: the autoencoder is, and
    the pipeline would hand it shorter floats.

    Args:
        sampler: its scheduler has the noise schedule of `make_scheduler`, and is told what the UNet predicts.
        conditions: the ControlNets it gets, in the order in which it wants their images; None takes all of
            them in the order of `prior.controlnets`.

    Raises:
        ValueError: a flow model with "ddim": these pipelines know no flow scheduler; or a union ControlNet
            beside others or for one text encoder, for which there is no pipeline.
    """
    names = list(prior.controlnets) if conditions is None else list(conditions)
    nets = list({id(prior.controlnets[name]): prior.controlnets[name] for name in names}.values())
    pipeline = _kind(prior, names, len(nets))(
        **_parts(prior), controlnet=nets[0] if len(nets) == 1 else nets, scheduler=_scheduler(prior, sampler)
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def base_pipeline_of(prior: Prior) -> Any:
    """diffusers' pipeline without ControlNets around the same modules: what loads LoRAs and IP-Adapters."""
    import diffusers

    kind = diffusers.StableDiffusionPipeline
    if prior.text_encoder_2 is not None:
        kind = diffusers.StableDiffusionXLPipeline
    return kind(**_parts(prior), scheduler=_scheduler(prior, "dpm++"))


def _parts(prior: Prior) -> dict[str, Any]:
    parts: dict[str, Any] = {
        "vae": prior.vae,
        "text_encoder": prior.text_encoder,
        "tokenizer": prior.tokenizer,
        "unet": prior.unet,
        "feature_extractor": None if prior.style is None else prior.style.processor,
        "image_encoder": None if prior.style is None else prior.style.image_encoder,
    }
    if prior.text_encoder_2 is None:
        return parts | {"safety_checker": None, "requires_safety_checker": False}
    return parts | {
        "text_encoder_2": prior.text_encoder_2,
        "tokenizer_2": prior.tokenizer_2,
        "force_zeros_for_empty_prompt": prior.zero_empty_prompt,
        "add_watermarker": False,
    }


def _kind(prior: Prior, names: Sequence[str], nets: int) -> Any:
    import diffusers

    if any(name in prior.union_types for name in names):
        if prior.text_encoder_2 is None or nets > 1:
            raise ValueError("diffusers has no pipeline for a union ControlNet here: it wants SDXL and one")
        return diffusers.StableDiffusionXLControlNetUnionPipeline
    if prior.text_encoder_2 is None:
        return diffusers.StableDiffusionControlNetPipeline
    return diffusers.StableDiffusionXLControlNetPipeline


def _scheduler(prior: Prior, sampler: SamplerName) -> Any:
    """The sampler's scheduler, for a network that says what `prior` says; the pipeline sets the steps."""
    if prior.prediction == "flow" and sampler == "ddim":
        raise ValueError("diffusers' ControlNet pipeline takes no flow scheduler: use dpm++")
    ours = make_scheduler(prior.scheduler, sampler, 1)
    kind = "flow_prediction" if prior.prediction == "flow" else prior.prediction
    return type(ours).from_config(ours.config, prediction_type=kind)
