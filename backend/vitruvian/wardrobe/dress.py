"""A dressed person from what is written down about them: layers of triangles with fabric coordinates."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from jaxtyping import Float, UInt8
from numpy import ndarray

from vitruvian.body.anny_body import anny_model, pose_body
from vitruvian.body.body import Body
from vitruvian.body.kinematics import axis_angle_from_rotation, rotation_from_axis_angle
from vitruvian.body.poses import joint_rotations_of
from vitruvian.core.mesh import Mesh
from vitruvian.wardrobe import accessories, garments, hair, lofts, shoes
from vitruvian.wardrobe.anatomy import Anatomy, anatomy, averaging_matrix, eyes, vertex_normals
from vitruvian.wardrobe.cloth import DEEP, Piece, Wearer, surface_of
from vitruvian.wardrobe.records import EYES, SKIN, Geometry

AO_RAYS, AO_REACH, AO_FLOOR = 24, 0.25, 0.70


@dataclass(frozen=True)
class Dressed:
    """A dressed person: V vertices, F triangles, metres, feet near z = 0, facing -Y."""

    body: Body
    """The bare posed proxy: conditions are rendered from it, as at run time."""
    mesh: Mesh
    """The dressed mesh; without UVs of its own."""
    slot: UInt8[ndarray, "F"]
    """Material slot per face (`records`)."""
    fabric_uv: Float[ndarray, "F 3 2"]
    """Float32 per corner. Cloth, hair: metres (u around, v up or along the strand). Skin, eyes: Anny's UV."""
    rest_position: Float[ndarray, "V 3"]
    """Float32; on the mean body at rest, feet z = 0, crown z = 1, facing -Y (`anatomy.Anatomy.rest`)."""
    ao: Float[ndarray, "V"]
    """Float32 in [0.7, 1]: soft ambient occlusion."""
    border: Float[ndarray, "V"]
    """Float32, metres to the garment's nearest edge; 1 on skin."""


def dress(geometry: Geometry) -> Dressed:
    """Shape, pose and dress a person; the same geometry gives the same bytes. About half a second."""
    anat = anatomy()
    body = posed_body(geometry)
    assert body.mesh.rig is not None
    stature = float(body.mesh.rig.rest_vertices[:, 2].max())
    vertices = body.mesh.vertices.double().numpy()
    wearer = Wearer(
        anat,
        surface_of(anat, vertices, stature),
        np.zeros(len(vertices)),
        np.random.default_rng([geometry.seed, 7]),
    )
    pieces = put_on(wearer, geometry)
    joined = _join([_skin(anat, wearer, vertices), *pieces])
    ao = ambient_occlusion(joined.vertices, joined.faces, np.random.default_rng([geometry.seed, 8]))
    mesh = Mesh(torch.from_numpy(joined.vertices).float(), torch.from_numpy(joined.faces), name="dressed")
    return Dressed(
        body=body,
        mesh=mesh,
        slot=joined.slot,
        fabric_uv=joined.uv.astype(np.float32),
        rest_position=joined.rest.astype(np.float32),
        ao=ao.astype(np.float32),
        border=joined.border.astype(np.float32),
    )


def posed_body(geometry: Geometry) -> Body:
    """The bare proxy: the named pose, each joint's jitter on top."""
    arrays = anny_model()
    rotations: dict[str, Any] = dict(joint_rotations_of(arrays, geometry.pose))
    for joint, jitter in geometry.joint_jitter.items():
        both = torch.tensor([rotations.get(joint, (0.0, 0.0, 0.0)), jitter], dtype=torch.float32)
        named, extra = rotation_from_axis_angle(both)
        rotations[joint] = axis_angle_from_rotation(extra @ named)
    return pose_body(arrays, geometry.phenotype, rotations)


def put_on(wearer: Wearer, geometry: Geometry) -> list[Piece]:
    """Everything worn, from the skin outwards: each layer lies above those before it."""
    pieces: list[Piece] = []
    if geometry.shoes is not None:
        pieces += shoes.make_shoes(wearer, geometry.shoes)
    # With a belt the top is tucked in, so that the belt shows; under a skirt's waist it always is.
    tucked = geometry.belt or geometry.bottom == "skirt"
    if geometry.top is not None and tucked:
        pieces += garments.make_top(wearer, geometry, geometry.top)
    if geometry.bottom == "skirt":
        pieces += lofts.make_skirt(wearer, geometry)
    elif geometry.bottom is not None:
        pieces += garments.make_bottom(wearer, geometry, geometry.bottom)
    if geometry.belt:
        pieces += garments.make_belt(wearer)
    if geometry.top is not None and not tucked:
        pieces += garments.make_top(wearer, geometry, geometry.top)
    if geometry.dress is not None:
        pieces += garments.make_bodice(wearer, geometry) + lofts.make_dress_skirt(wearer, geometry)
    if geometry.outer is not None:
        pieces += garments.make_outer(wearer, geometry, geometry.outer)
        if geometry.outer == "coat":
            pieces += lofts.make_coat_skirt(wearer, geometry)
    pieces += hair.make_hair(wearer, geometry)
    pieces += accessories.make_accessories(wearer, geometry)
    return pieces


def _skin(anat: Anatomy, wearer: Wearer, vertices: Float[ndarray, "V 3"]) -> Piece:
    """The skin that is not deep under cloth, and the eyes."""
    deep = (wearer.hidden > DEEP)[anat.faces].all(axis=1)
    mouth = (anat.part == 3)[anat.faces].any(axis=1)
    kept = ~deep & ~mouth
    faces = anat.faces[kept]
    eye = eyes(anat)[faces].all(axis=1)
    return Piece(
        vertices=vertices,
        faces=faces,
        slot=np.where(eye, EYES, SKIN).astype(np.uint8),
        uv=anat.uvs[kept],
        rest=anat.rest,
        border=np.ones(len(vertices)),
    )


def _join(pieces: list[Piece]) -> Piece:
    """One mesh of all pieces, without unused vertices."""
    offsets = np.cumsum([0] + [len(piece.vertices) for piece in pieces[:-1]])
    faces = np.concatenate([piece.faces + offset for piece, offset in zip(pieces, offsets, strict=True)])
    used, faces = np.unique(faces, return_inverse=True)
    return Piece(
        vertices=np.concatenate([piece.vertices for piece in pieces])[used],
        faces=faces.reshape(-1, 3).astype(np.int64),
        slot=np.concatenate([piece.slot for piece in pieces]),
        uv=np.concatenate([piece.uv for piece in pieces]),
        rest=np.concatenate([piece.rest for piece in pieces])[used],
        border=np.concatenate([piece.border for piece in pieces])[used],
    )


def ambient_occlusion(
    vertices: Float[ndarray, "V 3"], faces: ndarray, rng: np.random.Generator
) -> Float[ndarray, "V"]:
    """Share of the hemisphere over each vertex that is open within `AO_REACH`, softened, in [AO_FLOOR, 1].

    Cosine-weighted rays; both sides of a face occlude. It darkens armpits and folds, and is no light: no
    direction is preferred.
    """
    normals = vertex_normals(vertices, faces).astype(np.float32)
    count = len(vertices)
    sample = ((np.arange(AO_RAYS) + rng.random((count, 1))) / AO_RAYS).astype(np.float32)
    turn = ((np.arange(AO_RAYS) * 0.618034 + rng.random((count, 1))) * 2 * np.pi).astype(np.float32)
    radius = np.sqrt(sample)
    helper = np.where(
        np.abs(normals[:, :1]) < 0.8, np.eye(3, dtype=np.float32)[0], np.eye(3, dtype=np.float32)[1]
    )
    tangent = np.cross(helper, normals)
    tangent /= np.maximum(np.linalg.norm(tangent, axis=1, keepdims=True), 1e-9)
    frame = np.stack([tangent, np.cross(normals, tangent), normals], axis=1)
    local = np.stack([radius * np.cos(turn), radius * np.sin(turn), np.sqrt(1.0 - sample)], axis=-1)
    directions = local @ frame
    origins = np.repeat((vertices + 0.004 * normals).astype(np.float32), AO_RAYS, axis=0)
    scene = EmbreeScene()
    TriangleMesh(scene, vertices.astype(np.float32), faces.astype(np.int32))
    reach = np.full(len(origins), AO_REACH, dtype=np.float32)
    blocked = scene.run(origins, directions.reshape(-1, 3), dists=reach, query="OCCLUDED") >= 0
    openness = 1.0 - blocked.reshape(-1, AO_RAYS).mean(axis=1)
    averaging = averaging_matrix(faces, len(vertices))
    for _ in range(3):
        openness = 0.4 * openness + 0.6 * (averaging @ openness)
    return AO_FLOOR + (1.0 - AO_FLOOR) * np.clip(openness / 0.85, 0.0, 1.0)
