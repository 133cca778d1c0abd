"""The image priors that this project knows by name: what they are made of, where it lies, what it needs.

Sizes are counted, not quoted. Disk: parameters times the bytes of the files that are fetched (two; the
autoencoders and the image encoder come with four). Graphics memory: see `KnownPrior.vram_gb`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from vitruvian.core.errors import UserError

BUNDLED = Path(__file__).parent.parent / "assets" / "mini"
"""The prior that comes with the package."""

VramMode = Literal["auto", "low", "offload"]
"""auto: all networks on the card, and as many views at once as fit. low: a view at a time, text encoders and
autoencoder on the card only while they work. offload: every network only while it works."""
VRAM_MODES: tuple[VramMode, ...] = ("auto", "low", "offload")


@dataclass(frozen=True)
class Licence:
    """Under which terms a part may be used."""

    name: str
    url: str


@dataclass(frozen=True)
class KnownPart:
    """One repository of the hub that a prior takes something from."""

    repository: str
    folder: str
    """Where it lies in a prior's own folder; "" is that folder itself."""
    licence: Licence
    parameters: Mapping[str, int]
    """How many numbers each of its networks has."""
    full_precision: tuple[str, ...] = ()
    """Those of `parameters` that are fetched in float32: evaluated in it, or to be had in nothing else."""
    files: tuple[str, ...] = ()
    """Patterns of the only files wanted; none: all that a model of this kind needs (`hub.wanted_files`)."""

    @property
    def disk_gb(self) -> float:
        """Bytes of its weights on disk / 1e9."""
        return sum(n * (4 if name in self.full_precision else 2) for name, n in self.parameters.items()) / 1e9


@dataclass(frozen=True)
class KnownPrior:
    """A base model and what this project needs beside it."""

    name: str
    title: str
    base: KnownPart
    controlnets: Mapping[str, KnownPart]
    """One each for "depth", "normal", "pose"; empty where `union` serves them all."""
    union: KnownPart | None
    """One ControlNet for several kinds of condition, told apart by `union_types`."""
    tiny_vae: KnownPart
    """A small autoencoder of the same latents: quick enough for previews and for every guided step."""
    ip_adapter: KnownPart
    """Lets a picture say what the person looks like. Fetched only when asked for."""
    ip_adapter_weights: str
    """File in the adapter's repository."""
    image_encoder: str
    """Folder in the adapter's repository."""
    image_size: int
    """Pixels across a view that it was trained on."""
    activation_bytes: int
    """Alive at once beside the weights while ControlNets and UNet evaluate one image, which is one half of a
    view's guidance, at `image_size` in float16; attention without its matrix, as on graphics cards."""
    decode_bytes: int
    """Alive at once while the autoencoder decodes one image of `image_size` in float32."""
    union_types: Mapping[str, int] = field(default_factory=dict)
    """Place of each condition in the union's list of types."""

    def parts(self, with_ip_adapter: bool = False) -> Iterator[KnownPart]:
        """All that belongs to it, the base first."""
        yield self.base
        yield from self.controlnets.values()
        if self.union:
            yield self.union
        yield self.tiny_vae
        if with_ip_adapter:
            yield self.ip_adapter

    def vram_gb(self, mode: VramMode) -> float:
        """Graphics memory in GB (1e9 bytes) that a mode cannot do without, counted: weights (float16,
        autoencoders float32) and working memory of one view with guidance. What the libraries take for
        themselves comes on top, half a GB or so; more memory lets "auto" paint more views at once."""
        weights = {
            f"{part.folder}/{name}": n * (4 if name in _IN_FLOAT32 else 2)
            for part in self.parts()
            for name, n in part.parameters.items()
        }
        step = 2 * self.activation_bytes
        if mode == "auto":
            return (sum(weights.values()) + max(step, self.decode_bytes)) / 1e9
        # "low" and "offload" decode in tiles.
        work = {name: _TILE_BYTES if name.endswith("/vae") else step for name in weights}
        staying = ("/vae_tiny",) if mode == "offload" else ("/vae_tiny", "/unet", "/controlnet", "/union")
        stays = sum(size for name, size in weights.items() if name.endswith(staying))
        passing = [size + work[name] for name, size in weights.items() if not name.endswith(staying)]
        return (stays + max(step, *passing)) / 1e9


_IN_FLOAT32 = ("vae", "vae_tiny")
_TILE_BYTES = 201_342_976
"""Alive at once while one tile of 256 pixels is decoded in float32."""

_OPENRAIL_M = Licence(
    "CreativeML OpenRAIL-M", "https://huggingface.co/spaces/CompVis/stable-diffusion-license"
)
_OPENRAIL = Licence("OpenRAIL", "https://huggingface.co/blog/open_rail")
_OPENRAIL_PLUS = Licence(
    "CreativeML Open RAIL++-M",
    "https://huggingface.co/stabilityai/stable-diffusion-xl-base-1.0/blob/main/LICENSE.md",
)
_APACHE = Licence("Apache-2.0", "https://www.apache.org/licenses/LICENSE-2.0")
_MIT = Licence("MIT", "https://opensource.org/license/mit")

_VAE_PARAMETERS = 83_653_863
_CLIP_L_PARAMETERS = 123_060_480
_CLIP_G_PARAMETERS = 694_659_840
_TINY_PARAMETERS = 2_445_063
_IMAGE_ENCODER_PARAMETERS = 632_076_800
_IMAGE_ENCODER = "models/image_encoder"


def _sd15_controlnet(condition: str, repository: str) -> KnownPart:
    return KnownPart(
        f"lllyasviel/{repository}", f"controlnet_{condition}", _OPENRAIL, {"controlnet": 361_279_120}
    )


def _tiny_vae(repository: str) -> KnownPart:
    return KnownPart(repository, "vae_tiny", _MIT, {"vae_tiny": _TINY_PARAMETERS}, ("vae_tiny",))


def _ip_adapter(weights: str, parameters: int) -> KnownPart:
    return KnownPart(
        "h94/IP-Adapter",
        "ip_adapter",
        _APACHE,
        {"ip_adapter": parameters, "image_encoder": _IMAGE_ENCODER_PARAMETERS},
        ("image_encoder",),
        (weights, f"{_IMAGE_ENCODER}/config.json", f"{_IMAGE_ENCODER}/model.safetensors"),
    )


_SD15 = KnownPrior(
    name="sd15",
    title="Stable Diffusion 1.5",
    base=KnownPart(
        "stable-diffusion-v1-5/stable-diffusion-v1-5",
        "",
        _OPENRAIL_M,
        {"unet": 859_520_964, "text_encoder": _CLIP_L_PARAMETERS, "vae": _VAE_PARAMETERS},
        ("vae",),
    ),
    controlnets={
        "depth": _sd15_controlnet("depth", "control_v11f1p_sd15_depth"),
        "normal": _sd15_controlnet("normal", "control_v11p_sd15_normalbae"),
        "pose": _sd15_controlnet("pose", "control_v11p_sd15_openpose"),
    },
    union=None,
    tiny_vae=_tiny_vae("madebyollin/taesd"),
    ip_adapter=_ip_adapter("models/ip-adapter_sd15.safetensors", 22_319_616),
    ip_adapter_weights="models/ip-adapter_sd15.safetensors",
    image_encoder=_IMAGE_ENCODER,
    image_size=512,
    activation_bytes=87_002_240,
    decode_bytes=805_371_904,
)

_SDXL = KnownPrior(
    name="sdxl",
    title="Stable Diffusion XL 1.0",
    base=KnownPart(
        "stabilityai/stable-diffusion-xl-base-1.0",
        "",
        _OPENRAIL_PLUS,
        {
            "unet": 2_567_463_684,
            "text_encoder": _CLIP_L_PARAMETERS,
            "text_encoder_2": _CLIP_G_PARAMETERS,
            "vae": _VAE_PARAMETERS,
        },
        ("vae",),
    ),
    # One union network in place of three ControlNets as large as itself: a third of the disk and of the time.
    controlnets={},
    union=KnownPart(
        "xinsir/controlnet-union-sdxl-1.0", "controlnet_union", _APACHE, {"union": 1_255_958_800}
    ),
    tiny_vae=_tiny_vae("madebyollin/taesdxl"),
    # Its ViT-H variant: it reads the same image encoder as SD 1.5's, which is then on disk once.
    ip_adapter=_ip_adapter("sdxl_models/ip-adapter_sdxl_vit-h.safetensors", 349_188_096),
    ip_adapter_weights="sdxl_models/ip-adapter_sdxl_vit-h.safetensors",
    image_encoder=_IMAGE_ENCODER,
    image_size=1024,
    activation_bytes=225_449_600,
    decode_bytes=3_221_487_616,
    union_types={"pose": 0, "depth": 1, "normal": 4},
)

CATALOGUE: Mapping[str, KnownPrior] = {prior.name: prior for prior in (_SD15, _SDXL)}


def known_prior(name: str) -> KnownPrior:
    """The prior of that name.

    Raises:
        UserError: there is none.
    """
    if name not in CATALOGUE:
        known = ", ".join(CATALOGUE)
        remedy = f"Use one of {known}, or a model of the hub like owner/model"
        raise UserError("prior", name, "is not in the catalogue", remedy)
    return CATALOGUE[name]
