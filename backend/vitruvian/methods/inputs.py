"""What every method is given: a body, cameras and words."""

from __future__ import annotations

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from vitruvian.body.body import Body
from vitruvian.core.camera import CameraRig
from vitruvian.core.errors import UserError
from vitruvian.core.mesh import check_mesh
from vitruvian.diffusion.prior import Prior
from vitruvian.diffusion.style import adapter_of


@dataclass(frozen=True)
class Inputs:
    """A body, cameras whose image size is that of the views, and words."""

    body: Body
    rig: CameraRig
    prompt: str
    negative: str = ""
    view_prompts: tuple[str, ...] = ()
    """What single views show besides the prompt, one a camera, "" for nothing; or none at all."""
    style_image: Float[Tensor, "3 H W"] | None = None
    """RGB in [0, 1]: how the person or the style is to look; any size, the middle square counts."""


def check_inputs(inputs: Inputs, prior: Prior) -> None:
    """Refuse what no method can work on.

    Raises:
        UserError: empty prompt, a broken mesh, no UVs, views that do not divide into latent cells, or a style
            image for a prior that has no IP-Adapter.
    """
    if not inputs.prompt.strip():
        raise UserError(
            "prompt", inputs.prompt, "is empty", 'Describe the person, like "a man in a grey suit"'
        )
    if inputs.style_image is not None:
        adapter_of(prior)
    check_mesh(inputs.body.mesh)
    if inputs.body.mesh.uvs is None:
        raise UserError("mesh.uvs", inputs.body.mesh.name, "are missing", "Unwrap the mesh first")
    if len(inputs.rig) == 0:
        raise UserError("cameras", 0, "there are none", "Use at least one camera")
    if inputs.view_prompts and len(inputs.view_prompts) != len(inputs.rig):
        given = f"{len(inputs.view_prompts)} for {len(inputs.rig)} cameras"
        raise UserError("view_prompts", given, "is not one for each camera", "Give one for each, or none")
    step = cell_pixels(prior)
    if inputs.rig.width % step or inputs.rig.height % step:
        size = f"{inputs.rig.width} x {inputs.rig.height}"
        raise UserError("size", size, f"is not a multiple of {step} pixels", f"Use {prior.image_size}")


def cell_pixels(prior: Prior) -> int:
    """Pixels that an image side must be a multiple of: a latent cell, times the UNet's own halvings."""
    return prior.factor * 2 ** (len(prior.unet.config.block_out_channels) - 1)
