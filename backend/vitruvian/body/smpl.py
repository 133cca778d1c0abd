"""SMPL, SMPL-H and SMPL-X: the user's own model files, in their rest pose, through the `smplx` package."""

from __future__ import annotations

import importlib.util
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from vitruvian.core.errors import UserError
from vitruvian.core.mesh import Mesh, Rig

_KINDS = {24: "smpl", 52: "smplh", 55: "smplx"}
"""By the number of joints."""
_NEEDED = ("v_template", "f", "weights", "J_regressor", "kintree_table", "shapedirs", "posedirs")
_FACE = {"nose": "nose", "reye": "right_eye", "leye": "left_eye", "rear": "right_ear", "lear": "left_ear"}


def read_smpl(path: Path, betas: tuple[float, ...] = ()) -> tuple[Mesh, dict[str, int]]:
    """The body of an SMPL-family `.npz` at rest, +Y up and facing +Z, and where its face is.

    Args:
        betas: shape coefficients, as many as wanted from the first on.

    Raises:
        UserError: where the file is no such model, or smplx is not installed.
    """
    data = _read_arrays(path)
    joint_count = data["weights"].shape[1]
    if joint_count not in _KINDS:
        raise UserError(
            "mesh",
            str(path),
            f"has {joint_count} joints",
            "Give an SMPL (24), SMPL-H (52) or SMPL-X (55) model",
        )
    if importlib.util.find_spec("smplx") is None:
        raise UserError(
            "mesh", str(path), "needs the package smplx", 'Run: pip install "smplx>=0.1.28" (non-commercial)'
        )
    kind = _KINDS[joint_count]
    vertices, joints = _at_rest(kind, data, betas)
    T = torch.eye(4).repeat(joint_count, 1, 1)
    T[:, :3, 3] = joints[:joint_count]
    weights, weight_joints = torch.from_numpy(data["weights"].astype(np.float32)).topk(4, dim=1)
    parents = torch.from_numpy(data["kintree_table"][0].astype(np.int64))
    parents[0] = -1
    rig = Rig(
        joint_names=_joint_names(kind)[:joint_count],
        joint_parents=parents,
        T_world_joint=T,
        T_rest_joint=T,
        rest_vertices=vertices,
        weight_joints=weight_joints,
        weights=weights / weights.sum(1, keepdim=True),
    )
    faces = torch.from_numpy(data["f"].astype(np.int64))
    return Mesh(vertices, faces, rig=rig, name=path.stem), _face_vertices(kind)


def _at_rest(kind: str, data: dict[str, Any], betas: tuple[float, ...]) -> tuple[torch.Tensor, torch.Tensor]:
    """Vertices and joints of the model with no joint rotated."""
    import smplx
    from smplx.utils import Struct

    available = data["shapedirs"].shape[-1]
    if len(betas) > available:
        raise UserError("betas", len(betas), "are too many", f"The model has {available} shape coefficients")
    coefficients = torch.zeros(1, min(10, available) if len(betas) <= 10 else len(betas))
    coefficients[0, : len(betas)] = torch.tensor(betas)
    options = {"num_betas": coefficients.shape[1], "use_pca": False, "flat_hand_mean": True}
    if kind == "smplx":
        # Unlike the others it insists on a file, which it would unpickle: it gets one of plain arrays.
        with tempfile.TemporaryDirectory() as folder:
            np.savez(Path(folder) / "model.npz", **data)
            model = smplx.SMPLX(str(Path(folder) / "model.npz"), **options)
    else:
        model = {"smpl": smplx.SMPL, "smplh": smplx.SMPLH}[kind]("", data_struct=Struct(**data), **options)
    with torch.no_grad():
        output = model(betas=coefficients)
    return output.vertices[0], output.joints[0]


def _read_arrays(path: Path) -> dict[str, Any]:
    """The numeric arrays of the file. Pickled objects in it (labels, not needed here) are left alone."""
    if path.suffix.lower() == ".pkl":
        raise UserError(
            "mesh",
            str(path),
            "is a Python pickle, which can run code when opened",
            "Convert it to .npz: docs/bodies.md",
        )
    data = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for key in archive.files:
                try:
                    data[key] = archive[key]
                except ValueError:
                    continue
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise UserError(
            "mesh", str(path), f"could not be read ({error})", "Download the model again"
        ) from error
    missing = [key for key in _NEEDED if key not in data]
    if missing:
        raise UserError(
            "mesh", str(path), f"lacks {', '.join(missing)}", "Give an SMPL, SMPL-H or SMPL-X model"
        )
    return data


def _joint_names(kind: str) -> tuple[str, ...]:
    from smplx import joint_names

    if kind == "smplx":
        return tuple(joint_names.JOINT_NAMES)
    names = tuple(joint_names.SMPLH_JOINT_NAMES)
    # SMPL has one joint for each hand where SMPL-H begins its fingers.
    return (*names[:22], "left_hand", "right_hand") if kind == "smpl" else names


def _face_vertices(kind: str) -> dict[str, int]:
    from smplx.vertex_ids import vertex_ids

    known = vertex_ids["smplx" if kind == "smplx" else "smplh"]
    return {name: known[short] for short, name in _FACE.items()}
