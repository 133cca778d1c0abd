"""What the cases in Blender's own environment share: the installed add-on, a scripted server, files, panels.

Timers do not fire here, so cases beat the add-on's heart themselves.
"""

import hashlib
import importlib
import json
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np

MODULE = "bl_ext.user_default.vitruvian"
FOLDER = Path(sys.argv[2])
"""For whatever a case writes."""


def addon(name: str) -> Any:
    """A module of the installed add-on."""
    return importlib.import_module(f"{MODULE}.{name}")


def install() -> None:
    bpy.ops.extensions.package_install_files(
        filepath=sys.argv[1], repo="user_default", enable_on_install=True
    )


def fresh() -> None:
    """An empty file; add-ons stay."""
    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)


def add_body(**settings: Any) -> Any:
    panel = bpy.context.scene.vitruvian
    for name, value in settings.items():
        setattr(panel, name, value)
    bpy.ops.vitruvian.add_proxy()
    return panel.body


def server() -> Any:
    """A scripted server in place of the connection."""
    from scripted import ScriptedClient

    client = ScriptedClient()
    runtime = addon("runtime")
    runtime.close()
    runtime._connect = lambda _: client
    preferences = addon("preferences").get()
    preferences.backend, preferences.use_keys = "REMOTE", False
    preferences.address = "tcp://127.0.0.1:1"
    client.greet()
    return client


def beat(times: int = 3) -> None:
    pump = addon("pump")
    for _ in range(times):
        pump.tick()


def refused(call: Callable[[], Any]) -> str:
    """What an artist is told; the call must not go through."""
    try:
        call()
    except (RuntimeError, addon("problems").Problem) as error:
        return str(error)
    raise AssertionError("it was not refused")


def png(side: int = 16, colour: tuple[int, int, int] = (200, 30, 30)) -> bytes:
    rows = b"".join(b"\0" + bytes(colour) * side for _ in range(side))

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


FILES = {"albedo.png": png(), "coverage.png": png(8), "report.json": b'{"seed": 7}'}


def talk_to(address: str) -> None:
    """Have the add-on use a server that really serves."""
    preferences = addon("preferences").get()
    preferences.backend, preferences.use_keys, preferences.address = "REMOTE", False, address


def settle() -> None:
    """Let the heart beat until every job that was looked at has left or failed."""
    while addon("runtime").session().looking:
        beat(1)


def send(client: Any) -> Any:
    """Press Generate Human; the job as the session has it."""
    from vitruvian_protocol import events

    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    settle()
    job_id = client.submitted[-1]
    client.say(events.Accepted(job_id, 0), events.Started(job_id, 1, seq=1))
    beat()
    return addon("runtime").session().jobs[job_id]


def finish(client: Any, job: Any, files: dict[str, bytes] = FILES) -> None:
    """The server finishes the job and everything is fetched."""
    from vitruvian_protocol import events

    client.finish(job.id, *files, seq=job.seq + 1)
    beat()
    for asked, name, target in client.fetched:
        if asked == job.id:
            target.write_bytes(files[name])
            client.say(events.Fetched(asked, name, target))
    client.fetched = [entry for entry in client.fetched if entry[0] != job.id]
    beat(6)  # one for each picture that is checked


def whole_scene(body: Any) -> Any:
    """The body as it is sent: a snapshot, its rig read to the end."""
    steps = addon("scene_export").take_snapshot(body, bpy.context.scene.vitruvian).complete()
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value


def fingerprint(body: Any) -> dict[str, str]:
    """Everything of the artist's that must come back bit for bit."""
    mesh = body.data
    read = addon("uv_layout").read
    weights = [[(g.group, g.weight) for g in v.groups] for v in mesh.vertices]
    modifiers = [
        {p.identifier: repr(getattr(m, p.identifier)) for p in m.bl_rna.properties} for m in body.modifiers
    ]
    parts = {
        "vertices": read(mesh.vertices, "co", np.float32, 3).tobytes(),
        "corners": read(mesh.loops, "vertex_index", np.int32, 1).tobytes(),
        "polygons": read(mesh.polygons, "loop_start", np.int32, 1).tobytes(),
        "slots": read(mesh.polygons, "material_index", np.int32, 1).tobytes(),
        "uvs": b"".join(
            layer.name.encode() + read(layer.data, "uv", np.float32, 2).tobytes() for layer in mesh.uv_layers
        ),
        "active uv": str((mesh.uv_layers.active_index, [u.active_render for u in mesh.uv_layers])).encode(),
        "weights": json.dumps(weights).encode(),
        "modifiers": json.dumps(modifiers, sort_keys=True).encode(),
        "matrix": np.array(body.matrix_world).tobytes(),
        "scene": str(
            (bpy.context.scene.frame_current, bpy.context.scene.render.engine, bpy.context.scene.camera)
        ).encode(),
    }
    return {name: hashlib.sha256(data).hexdigest() for name, data in parts.items()}


def jpeg(red: float = 0.5) -> bytes:
    """What a scripted server sends as a preview, made by Blender itself."""
    image = bpy.data.images.new("preview", 32, 32)
    image.pixels.foreach_set(np.tile(np.array([red, 0.1, 0.1, 1.0], np.float32), 32 * 32))
    image.file_format = "JPEG"
    image.filepath_raw = str(FOLDER / "preview.jpg")
    image.save()
    bpy.data.images.remove(image)
    return (FOLDER / "preview.jpg").read_bytes()


class Layout:
    """Takes every call that a panel makes, and remembers labels and buttons."""

    def __init__(self, labels: list[str]) -> None:
        self.labels = labels

    def __getattr__(self, name: str) -> Any:
        def call(*arguments: Any, **named: Any) -> Any:
            if name == "prop":
                getattr(arguments[0], arguments[1])
            if name == "operator":
                self.labels += [arguments[0], named.get("text", "")]
                assert (
                    hasattr(bpy.types, arguments[0].replace("vitruvian.", "VITRUVIAN_OT_"))
                    or "." in arguments[0]
                )
                module, operator = arguments[0].split(".")
                getattr(getattr(bpy.ops, module), operator).get_rna_type()
                return SimpleNamespace()
            if "text" in named:
                self.labels.append(named["text"])
            return Layout(self.labels)

        return call


def draw_all() -> list[str]:
    """Draw every panel of the add-on; returns what they say."""
    labels: list[str] = []
    panels = addon("panels_setup").CLASSES + addon("panels_jobs").CLASSES + addon("panels_batch").CLASSES[-1:]
    for kind in panels:
        if not hasattr(kind, "poll") or kind.poll(bpy.context):
            methods = {n: getattr(kind, n) for n in dir(kind) if n.startswith("_draw")}
            panel = SimpleNamespace(layout=Layout(labels))
            for name, method in methods.items():
                setattr(panel, name, method.__get__(panel))
            kind.draw(panel, bpy.context)
    preferences = addon("preferences").get()
    addon("preferences").VitruvianPreferences.draw(
        SimpleNamespace(
            layout=Layout(labels),
            backend=preferences.backend,
            command=preferences.command,
            use_keys=preferences.use_keys,
            _draw_local=lambda layout: None,
            _draw_remote=lambda layout: None,
        ),
        bpy.context,
    )
    return labels
