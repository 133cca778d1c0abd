"""A job made ready to be sent: checked, packed and hashed. No connection is needed for it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

from .checks import check_settings, clean_prompt
from .codec import pack_scene, spec_sha256
from .scene import Scene, Settings


@dataclass(frozen=True, eq=False)
class PackedJob:
    """What `Client.submit_packed` sends. Later changes to the scene's arrays do not reach it."""

    settings: Settings
    blob: bytes
    """The scene as one file."""
    scene_sha256: str
    spec_sha256: str


def pack_job(scene: Scene, settings: Settings) -> PackedJob:
    """Check and pack; about half a second for a million vertices. Prompts are cleaned, the views' too.

    Raises:
        ProtocolError: BAD_SCENE, BAD_SETTINGS or TOO_LARGE, with the field's path.
    """
    settings = replace(
        settings, prompt=clean_prompt(settings.prompt), negative=clean_prompt(settings.negative)
    )
    check_settings(settings)
    if scene.cameras is not None:
        prompts = tuple(map(clean_prompt, scene.cameras.prompts))
        scene = replace(scene, cameras=replace(scene.cameras, prompts=prompts))
    blob = pack_scene(scene)
    scene_sha256 = hashlib.sha256(blob).hexdigest()
    return PackedJob(settings, blob, scene_sha256, spec_sha256(settings, scene_sha256))
