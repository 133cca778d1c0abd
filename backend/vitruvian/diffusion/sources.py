"""Where the files of a prior are: names, folders, files and hub ids to paths on this disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from vitruvian.core.errors import UserError
from vitruvian.diffusion.catalogue import BUNDLED, CATALOGUE, KnownPrior
from vitruvian.diffusion.hub import cached, download
from vitruvian.diffusion.parts import PARTS, SECOND_ENCODER, UNION, read_json

CONTROLNET_PREFIX = "controlnet_"
PICKLES = (".ckpt", ".pt", ".pth", ".bin", ".pkl")
UNION_TYPES: Mapping[str, int] = CATALOGUE["sdxl"].union_types
"""Places of the conditions in the list of types that union ControlNets were trained on."""


def locate(name: str) -> Path:
    """The folder, or the single file, of a base model; hub models are downloaded on first use.

    Raises:
        UserError: neither a known name, a folder, a .safetensors file nor a hub id; or the download failed.
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
    if path.suffix.lower() in PICKLES:
        refuse_pickle("prior", name)
    if path.suffix == ".safetensors":
        return weights_file("prior", path)
    if is_hub_id(name):
        return download(name)
    known = ", ".join(["mini", *CATALOGUE])
    raise UserError(
        "prior",
        name,
        "is unknown",
        f"Use one of {known}, a folder, a .safetensors file, a .json recipe, or a hub id like owner/model",
    )


def is_hub_id(name: str) -> bool:
    """Whether it has exactly one slash and no path syntax."""
    return name.count("/") == 1 and not name.startswith((".", "~", "/")) and name.strip("/") == name


def weights_file(field: str, path: Path) -> Path:
    """`path`, if it is a file that weights may be read from.

    Raises:
        UserError: it is not there, or no .safetensors file.
    """
    if path.suffix.lower() in PICKLES:
        refuse_pickle(field, str(path))
    if not path.is_file():
        raise UserError(field, str(path), "is not there", "Check the path")
    check_weights_name(field, str(path))
    return path


def check_weights_name(field: str, name: str) -> None:
    """Before anything is fetched: raises UserError if that is no .safetensors file, by its name."""
    suffix = Path(name).suffix
    if suffix.lower() in PICKLES:
        refuse_pickle(field, name)
    if suffix != ".safetensors":
        raise UserError(field, name, "is not a .safetensors file", "Give weights in that format")


def refuse_pickle(field: str, name: str) -> None:
    """Raises UserError: opening a pickle can run whatever its author put in it."""
    raise UserError(
        field,
        name,
        "is a pickle, which can run code when it is opened",
        "Get the same model as .safetensors; most are published so",
    )


def folder_or_hub(field: str, name: str) -> Path:
    """The folder of one network: on this disk, or downloaded.

    Raises:
        UserError: neither a folder nor a hub id, or the download failed.
    """
    path = Path(name).expanduser()
    if path.is_dir():
        return path
    if is_hub_id(name):
        return download(name)
    raise UserError(field, name, "is neither a folder nor a hub id", "Check the path")


def parts_of(name: str, folder: Path) -> tuple[str, ...]:
    """The components that a model in diffusers' layout consists of.

    Raises:
        UserError: some are missing.
    """
    if not (folder / "model_index.json").is_file():
        raise UserError(
            "prior",
            name,
            "has no model_index.json",
            "Give a folder in diffusers' layout, or a .safetensors file",
        )
    index = read_json(folder / "model_index.json")
    second = (index.get(SECOND_ENCODER[0]) or [None])[0] is not None
    parts = (*PARTS, *SECOND_ENCODER) if second else PARTS
    missing = [part for part in parts if not (folder / part).is_dir()]
    if missing:
        raise UserError(
            "prior", name, f"lacks {', '.join(missing)}", "Copy or download the whole model folder again"
        )
    return parts


def known_family(config: Mapping) -> KnownPrior | None:
    """The catalogue's prior of the same architecture as a UNet, by its config; None for others."""
    families = {(768, None): "sd15", (2048, "text_time"): "sdxl"}
    width = config.get("cross_attention_dim")
    name = families.get((width if isinstance(width, int) else 0, config.get("addition_embed_type")))
    return CATALOGUE[name] if name else None


def control_folders(folder: Path | None, family: KnownPrior | None, name: str) -> dict[str, Path]:
    """By condition: the ControlNets beside the UNet; for a model that has none, those of its family.

    A union ControlNet stands under each of its conditions.

    Raises:
        UserError: there are none, so nothing would tie the picture to the body.
    """
    inside = [] if folder is None else sorted(p for p in folder.glob(f"{CONTROLNET_PREFIX}*") if p.is_dir())
    found: dict[str, Path] = {}
    for path in inside:
        if read_json(path / "config.json").get("_class_name") == UNION:
            found |= dict.fromkeys(UNION_TYPES, path)
        else:
            found[path.name.removeprefix(CONTROLNET_PREFIX)] = path
    if found:
        return found
    if family is None:
        raise UserError(
            "prior", name, "has no ControlNets", "Add folders controlnet_depth and controlnet_normal to it"
        )
    if family.union is not None:
        return dict.fromkeys(family.union_types, download(family.union.repository))
    return {condition: download(part.repository) for condition, part in family.controlnets.items()}


def tiny_folder(folder: Path | None, family: KnownPrior | None, named: bool) -> Path | None:
    """The small autoencoder of the same latents: beside the others, or the family's.

    Args:
        named: the base was asked for by a known name, so that what belongs to it is downloaded.
    """
    if folder is not None and (folder / "vae_tiny").is_dir():
        return folder / "vae_tiny"
    if family is None:
        return None
    found = cached(family.tiny_vae.repository)
    if found is None and named:
        try:
            return download(family.tiny_vae.repository)
        except UserError:
            return None  # It only makes things quicker: the full autoencoder can do all that it does.
    return found
