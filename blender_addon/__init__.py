# SPDX-License-Identifier: GPL-3.0-or-later
"""Vitruvian for Blender: textures a body from a sentence. This file registers; the modules beside it do."""

import bpy

from . import (
    batch_command,
    batch_scene,
    bench_command,
    handlers,
    operators_backend,
    operators_batch,
    operators_job,
    operators_scene,
    overlay,
    panels_batch,
    panels_jobs,
    panels_setup,
    preferences,
    previews,
    properties,
    pump,
    runtime,
)

bl_info = {
    "name": "Vitruvian",
    "author": "The Vitruvian project",
    "version": (0, 1, 0),
    "blender": (3, 4, 0),
    "location": "3D Viewport > Sidebar > Vitruvian",
    "description": "Give a body mesh a skin, clothes and hair from a sentence",
    "category": "Material",
}

_CLASSES = (
    *operators_scene.CLASSES,
    *operators_job.CLASSES,
    *operators_backend.CLASSES,
    *operators_batch.CLASSES,
    *panels_setup.CLASSES,  # panels show in the order in which they are registered
    *panels_jobs.CLASSES,
    *panels_batch.CLASSES,
)


def register() -> None:
    properties.register()
    preferences.register()
    for kind in _CLASSES:
        bpy.utils.register_class(kind)
    previews.register()
    handlers.register()
    batch_command.register()
    bench_command.register()
    pump.wake()


def unregister() -> None:
    pump.stop()
    bench_command.unregister()
    batch_command.unregister()
    handlers.unregister()
    batch_scene.forget()
    overlay.clear()
    runtime.close()
    previews.unregister()
    for kind in reversed(_CLASSES):
        bpy.utils.unregister_class(kind)
    preferences.unregister()
    properties.unregister()
