"""What is drawn over the viewport, drawn into a picture of its own. Cases for `run_case.py`."""

import math
import sys
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from kit import FOLDER, add_body, addon, beat, finish, jpeg, send, server

SIDE = 96


def can_draw() -> bool:
    """Whether this computer can; a first render lets Blender without a window find out."""
    import gpu  # pyright: ignore[reportMissingImports]

    scene = bpy.context.scene
    scene.render.engine, scene.render.filepath = "BLENDER_WORKBENCH", str(FOLDER / "first.png")
    scene.render.resolution_x = scene.render.resolution_y = 8
    scene.camera = bpy.data.objects.new("eye", bpy.data.cameras.new("eye"))
    scene.collection.objects.link(scene.camera)
    bpy.ops.render.render(write_still=True)
    able = gpu.platform.backend_type_get() not in ("NONE", "UNKNOWN")
    if not able:
        print("NO GPU", file=sys.stdout, flush=True)
    return able


def drawn(turn: float = 0.0) -> "np.ndarray[Any, Any]":
    """The overlay as somebody in front sees it, 2 m across, the body turned to its left by so many degrees.
    [SIDE, SIDE, 4], first row below."""
    import gpu  # pyright: ignore[reportMissingImports]
    from mathutils import Matrix  # pyright: ignore[reportMissingImports]

    view = Matrix.Rotation(-math.pi / 2, 4, "X") @ Matrix.Rotation(math.radians(turn), 4, "Z")
    view = Matrix.Translation((0, 0, -5)) @ view @ Matrix.Translation((0, 0, -0.9))
    projection = Matrix(((1, 0, 0, 0), (0, 1, 0, 0), (0, 0, -0.1, 0), (0, 0, 0, 1)))
    canvas = gpu.types.GPUOffScreen(SIDE, SIDE)
    try:
        with canvas.bind(), gpu.matrix.push_pop(), gpu.matrix.push_pop_projection():
            buffer = gpu.state.active_framebuffer_get()
            buffer.clear(color=(0.0, 0.0, 0.0, 0.0), depth=1.0)
            gpu.matrix.load_matrix(view)
            gpu.matrix.load_projection_matrix(projection)
            addon("overlay")._draw()
            seen = buffer.read_color(0, 0, SIDE, SIDE, 4, 0, "FLOAT")
            seen.dimensions = SIDE * SIDE * 4
            return np.array(seen, np.float32).reshape(SIDE, SIDE, 4)
    finally:
        canvas.free()


def case_the_growing_texture_is_drawn_on_the_body() -> None:
    """Where the body stands, in the preview's colour; the newest counts; gone when the job has ended."""
    from vitruvian_protocol import events

    if not can_draw():
        return
    overlay = addon("overlay")
    overlay._has_window = lambda: True
    client = server()
    body = add_body()
    vertices = addon("scene_export").take_snapshot(body, bpy.context.scene.vitruvian).scene.mesh.vertices
    job = send(client)
    assert not drawn().any(), "nothing has come yet"
    body.location.x += 10  # what was sent is where it was sent
    shown = []
    for red in (0.9, 0.2):
        client.say(events.Preview(job.id, jpeg(red), "texture"))
        beat(3)
        shown.append(drawn())
    inside = shown[0][..., 3] > 0
    share = inside.mean()
    assert 0.05 < share < 0.4, share
    rows = np.flatnonzero(inside.any(axis=1))
    tall = np.ptp(vertices[:, 2])
    assert abs((rows[-1] - rows[0] + 1) / SIDE * 2 - tall) < 0.06, (rows[0], rows[-1], tall)
    for red, picture in zip((0.9, 0.2), shown, strict=True):
        # Before 5.0 the window encodes what is drawn; from then on it is drawn as it is to be seen.
        expected = red if bpy.app.version >= (5, 0, 0) else ((red + 0.055) / 1.055) ** 2.4
        assert np.abs(picture[inside][:, 0] - expected).max() < 0.03, red
    assert (drawn(180)[..., 3] > 0).mean() > 0.05
    finish(client, job)
    assert not drawn().any(), "the result itself is on the body now"


def case_coverage_is_drawn_as_dots() -> None:
    if not can_draw():
        return
    overlay = addon("overlay")
    overlay._has_window = lambda: True
    panel = bpy.context.scene.vitruvian
    add_body()
    panel.body_views, panel.upper_views = 1, 0
    bpy.ops.vitruvian.add_rig()
    bpy.context.view_layer.update()
    assert bpy.ops.vitruvian.preview_coverage() == {"FINISHED"}
    side = drawn(90)  # which brings the front to the right
    dots = side[..., 3] > 0
    unseen = dots & (side[..., 0] > 3 * side[..., 1])
    seen = dots & ~unseen
    assert unseen.any()
    assert seen.any()
    assert np.nonzero(seen)[1].mean() > np.nonzero(unseen)[1].mean() + 2, "the one camera is in front"
    assert bpy.ops.vitruvian.preview_coverage() == {"FINISHED"}
    assert not drawn().any()
