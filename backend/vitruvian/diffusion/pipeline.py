"""A prior as diffusers' own ControlNet pipeline: what ours is checked against, and timed against."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sampling import SamplerName, make_scheduler


def pipeline_of(prior: Prior, sampler: SamplerName = "dpm++", conditions: Sequence[str] | None = None) -> Any:
    """diffusers' StableDiffusionControlNetPipeline around the modules of `prior` themselves, not copies.

    Ask it for latents (`output_type="latent"`) where `prior.dtype` is not float32: the autoencoder is, and
    the pipeline would hand it shorter floats.

    Args:
        sampler: its scheduler has the noise schedule of `make_scheduler`, and is told what the UNet predicts.
        conditions: the ControlNets it gets, in the order in which it wants their images; None takes all of
            them in the order of `prior.controlnets`.

    Raises:
        ValueError: a flow model with "ddim": that pipeline knows no flow scheduler.
    """
    from diffusers.pipelines.controlnet.pipeline_controlnet import StableDiffusionControlNetPipeline

    names = list(prior.controlnets) if conditions is None else list(conditions)
    nets = [prior.controlnets[name] for name in names]
    pipeline = StableDiffusionControlNetPipeline(
        vae=prior.vae,
        text_encoder=prior.text_encoder,
        tokenizer=prior.tokenizer,
        unet=prior.unet,
        controlnet=nets[0] if len(nets) == 1 else nets,
        scheduler=_scheduler(prior, sampler),
        safety_checker=None,  # pyright: ignore[reportArgumentType]  # optional, as its own config says
        feature_extractor=None,  # pyright: ignore[reportArgumentType]
        requires_safety_checker=False,
    )
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def _scheduler(prior: Prior, sampler: SamplerName) -> Any:
    """The sampler's scheduler, for a network that says what `prior` says; the pipeline sets the steps."""
    if prior.prediction == "flow" and sampler == "ddim":
        raise ValueError("diffusers' ControlNet pipeline takes no flow scheduler: use dpm++")
    ours = make_scheduler(prior.scheduler, sampler, 1)
    kind = "flow_prediction" if prior.prediction == "flow" else prior.prediction
    return type(ours).from_config(ours.config, prediction_type=kind)
