"""MVHuman (Jiang et al., arXiv 2312.10120): sample all views of a body together, then bake them.

Conditions of the proxy -> one prompt a view -> one sampling of all views, in which a reference view's
self-attention and the fusion on the surface make them one person -> a texture. What differs from the authors'
release, and why, stands in docs/decisions.md.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass, field, replace
from typing import Literal

from jaxtyping import Float
from torch import Tensor

from vitruvian.core.camera import CameraRig
from vitruvian.core.images import Avatar, Conditions, Texture, ViewSet
from vitruvian.core.mesh import Mesh
from vitruvian.core.report import Preview, Report
from vitruvian.diffusion.attention import attention_bank, with_reference
from vitruvian.diffusion.catalogue import VramMode
from vitruvian.diffusion.consistency import Codec, ConsistencySettings, Fuser, with_consistency
from vitruvian.diffusion.counting import suited_consistency
from vitruvian.diffusion.denoiser import (
    Denoiser,
    NoiseLevel,
    TextDenoiser,
    make_denoiser,
    view_chunks,
    with_guidance,
)
from vitruvian.diffusion.latents import decode, encode, latent_shape
from vitruvian.diffusion.memory import Sizes, plan_memory, resident
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.sampling import SamplerName, make_scheduler, sample, view_noise
from vitruvian.diffusion.style import encode_style, style_weight, with_style
from vitruvian.diffusion.text import encode_negatives, encode_prompts, view_prompts
from vitruvian.diffusion.text_states import TextStates
from vitruvian.diffusion.weights import ControlWeight
from vitruvian.methods.inputs import Inputs, check_inputs
from vitruvian.methods.record import Account, describe_cameras, peak_memory_gb, versions
from vitruvian.render.conditions import render_conditions
from vitruvian.texture.fuse import TextureFuser, fuse
from vitruvian.texture.neighbour import NeighbourWarpFuser
from vitruvian.texture.overlap import find_overlap, overlap_psnr
from vitruvian.texture.preview import TexturePreview
from vitruvian.texture.texels import check_texture_size

FuserName = Literal["texture", "neighbours"]


@dataclass(frozen=True)
class MVHumanSettings:
    """Everything that shapes the result besides the inputs."""

    seed: int = 0
    steps: int = 20
    guidance: float | None = None
    """Classifier-free guidance; None takes what suits the prior."""
    sampler: SamplerName = "dpm++"
    consistency: ConsistencySettings | None = field(default_factory=ConsistencySettings)
    """None samples every view on its own."""
    fuser: FuserName = "texture"
    """How views are brought together: on the surface, or each with its neighbours as in the paper."""
    reference: bool = True
    """Let every view attend to the front close-up."""
    reference_end: float = 1.0
    """Progress of sampling at which it stops to."""
    control: Mapping[str, ControlWeight] | None = None
    """Strength of each ControlNet; None takes what suits the prior."""
    style_weight: float | None = None
    """How much a style image counts; None takes what suits the prior."""
    texture_size: int = 1024
    chunk: int | None = None
    """Views evaluated together; None takes what fits."""
    memory: VramMode = "auto"
    """How much is on the graphics card at once."""


FUSERS: dict[FuserName, type[TextureFuser] | type[NeighbourWarpFuser]] = {
    "texture": TextureFuser,
    "neighbours": NeighbourWarpFuser,
}
SD_GUIDANCE, SDXL_GUIDANCE, OWN_GUIDANCE = 7.5, 5.0, 3.0
"""For the families of Stable Diffusion, as their pipelines have it; for priors that this project trains."""
SD_CONTROL = {
    "pose": ControlWeight(0.8, 0.7),
    "depth": ControlWeight(0.8, 0.5),
    "normal": ControlWeight(0.8, 0.5),
}
"""MVHuman's release, for three ControlNets trained apart (research notes, section 1.3)."""


def run(inputs: Inputs, settings: MVHumanSettings, prior: Prior, report: Report) -> Avatar:
    """Paint `inputs.body` as `inputs.prompt` says.

    Raises:
        UserError: inputs that cannot be painted.
        Cancelled: `report` was told to stop.
    """
    check_texture_size(settings.texture_size)
    settings = suited(settings, prior)
    account = Account()
    views = paint_views(inputs, settings, prior, report, account)
    mesh = inputs.body.mesh.to(prior.device)
    with account.timed("texture"):
        texture = fuse(views, mesh, settings.texture_size, report=report)
    record = {
        "method": "mvhuman",
        "prompt": inputs.prompt,
        "negative": inputs.negative,
        "view_prompts": list(inputs.view_prompts),
        "settings": asdict(settings),
        "prior": {
            "name": prior.name,
            "sha256": prior.hash,
            "prediction": prior.prediction,
            "dtype": str(prior.dtype),
            "made_of": dict(prior.made_of),
        },
        "versions": versions(),
        "seconds": account.seconds,
        "memory": account.memory,
        "notes": account.notes,
        "peak_memory_gb": peak_memory_gb(prior.device),
        "figures": figures(views, mesh, texture),
        "cameras": describe_cameras(inputs.rig),
    }
    return Avatar(mesh, texture, views, record)


def paint_views(
    inputs: Inputs,
    settings: MVHumanSettings,
    prior: Prior,
    report: Report,
    account: Account | None = None,
) -> ViewSet:
    """Pictures of all views, as the sampler made them: nothing is fused after it.

    Args:
        account: is told the seconds of each stage, and how the work was cut.

    Raises:
        UserError: inputs that cannot be painted, or not with the memory that there is.
    """
    check_inputs(inputs, prior)
    settings = suited(settings, prior)
    account = account or Account()
    body, rig = inputs.body.to(prior.device), inputs.rig.to(prior.device)
    plan = plan_memory(prior, settings.memory, len(rig), rig.height, rig.width, settings.chunk)
    sizes = plan.sizes()
    with account.timed("conditions"):
        report("conditions", 0, 1)
        keypoints = body.keypoints if "pose" in prior.controlnets else None
        conditions, gbuffer = render_conditions(body.mesh, rig, keypoints)
        fuser = None if settings.consistency is None else FUSERS[settings.fuser](body.mesh, rig, gbuffer)
        report("conditions", 1, 1)
    with resident(prior, settings.memory):
        texture = TexturePreview(body.mesh, rig, gbuffer)
        with account.timed("sampling"):
            latents = _sample(inputs, conditions, fuser, settings, prior, report, texture, sizes)
        with account.timed("decode"):
            images = decode(prior, latents, sizes.pictures)
    account.memory = {"mode": settings.memory, **sizes.describe()}
    account.notes += sizes.notes
    return ViewSet(images, rig, gbuffer)


def _sample(
    inputs: Inputs,
    conditions: Conditions,
    fuser: Fuser | None,
    settings: MVHumanSettings,
    prior: Prior,
    report: Report,
    texture: TexturePreview,
    sizes: Sizes,
) -> Float[Tensor, "N C h w"]:
    """The sampling itself: the denoiser, wrapped, and a loop. Nothing in `settings` is left open any more."""
    assert settings.guidance is not None
    assert settings.control is not None
    rig = inputs.rig
    report("sampling", 0, settings.steps)
    positive, negative = _told(inputs, prior)
    references = [reference_view(rig)] if settings.reference and len(rig) > 1 else []
    pictures: list[Tensor] = []

    def after_step(level: NoiseLevel, x0: Tensor) -> None:
        views = pictures.pop() if pictures else None
        preview = None if views is None else Preview(views, functools.partial(texture, views))
        report("sampling", level.step + 1, level.steps, preview)

    with _style(inputs, settings, prior), attention_bank(prior.unet) if references else nullcontext() as bank:
        denoise: TextDenoiser = make_denoiser(prior, control_images(conditions), settings.control)
        if bank is not None:
            denoise = with_reference(denoise, bank, references, settings.reference_end)
        chunks = view_chunks(len(rig), sizes.views.size, references)
        guided: Denoiser = with_guidance(
            denoise, positive, negative, settings.guidance, chunks, size=sizes.views
        )
        if fuser is not None and settings.consistency is not None:
            final = _codec(prior, sizes, tiny=False)
            guided = with_consistency(
                guided,
                fuser,
                _codec(prior, sizes, tiny=True) if settings.consistency.tiny else final,
                settings.consistency,
                watch=lambda level, images: pictures.append(images),
                final=final,
            )
        noise = view_noise(settings.seed, rig.names, latent_shape(prior, rig.height, rig.width), prior.device)
        scheduler = make_scheduler(prior.scheduler, settings.sampler, settings.steps)
        return sample(guided, noise, scheduler, after_step)


def _codec(prior: Prior, sizes: Sizes, tiny: bool) -> Codec:
    """The autoencoder as it is used between steps."""
    how = {"chunk": sizes.pictures, "quick": True, "tiny": tiny}
    return Codec(functools.partial(encode, prior, **how), functools.partial(decode, prior, **how))


def _told(inputs: Inputs, prior: Prior) -> tuple[TextStates, TextStates]:
    """What each view is to show, and what none is to show."""
    rig = inputs.rig
    positive = encode_prompts(prior, view_prompts(prior, inputs.prompt, rig, inputs.view_prompts))
    if inputs.style_image is not None:
        positive = with_style(positive, encode_style(prior, inputs.style_image))
    return positive, encode_negatives(prior, [inputs.negative.strip()] * len(rig))


def _style(inputs: Inputs, settings: MVHumanSettings, prior: Prior) -> AbstractContextManager[None]:
    if inputs.style_image is None:
        return nullcontext()
    assert settings.style_weight is not None
    return style_weight(prior.unet, settings.style_weight)


def figures(views: ViewSet, mesh: Mesh, texture: Texture) -> dict[str, float | None]:
    """How far the views agree before fusion, and how much of the texture some view saw.

    The PSNR is None where no two views overlap.
    """
    psnr = overlap_psnr(views.images, find_overlap(mesh, views.rig, views.gbuffer))
    covered = float((texture.coverage[texture.inside] > 0.0).float().mean())
    return {"overlap_psnr_db": None if math.isnan(psnr) else round(psnr, 2), "coverage": round(covered, 4)}


def reference_view(rig: CameraRig) -> int:
    """The view that shows the person best: of the close-ups, the one most from the front."""
    rank = {"upper": 0, "face": 1, "body": 2, "extra": 3}
    return min(range(len(rig)), key=lambda i: (rank[rig.kinds[i]], abs(float(rig.azimuth_degrees[i]))))


def control_images(conditions: Conditions) -> dict[str, Float[Tensor, "N 3 H W"]]:
    """Conditions by the names of ControlNets."""
    images = {"depth": conditions.depth, "normal": conditions.normal}
    return images if conditions.pose is None else {**images, "pose": conditions.pose}


def suited(settings: MVHumanSettings, prior: Prior) -> MVHumanSettings:
    """The settings with what they leave open filled in as it suits the prior.

    Priors that this project trains have a card; their ControlNets were trained together and add up as they
    are.
    """
    guidance, control, consistency = settings.guidance, settings.control, settings.consistency
    if guidance is None:
        plain = SD_GUIDANCE if prior.text_encoder_2 is None else SDXL_GUIDANCE
        guidance = float(prior.card.get("guidance", OWN_GUIDANCE)) if prior.card else plain
    if control is None:
        control = {**({} if prior.card else SD_CONTROL), **prior.control}
    if consistency is not None:
        consistency = suited_consistency(consistency, prior, settings.steps, 1 if guidance == 1.0 else 2)
    style = settings.style_weight
    if style is None:
        style = 0.0 if prior.style is None else prior.style.scale
    return replace(settings, guidance=guidance, control=control, consistency=consistency, style_weight=style)
