"""The artist's way against a server that really serves. Cases for `run_case.py`."""

import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from kit import FOLDER, add_body, addon, draw_all, fingerprint, fresh, refused, settle


def small(panel: Any) -> None:
    """The quickest settings that still are the whole way, for the chosen body."""
    panel.steps, panel.texture_size = 3, "512"
    panel.prompt = "a man with short black hair in a red shirt, blue trousers and white shoes, seconds=2"
    panel.body_views, panel.upper_views = 3, 1
    bpy.ops.vitruvian.add_rig()
    bpy.context.view_layer.update()


def until(condition: Any, seconds: float = 900.0) -> None:
    pump, end = addon("pump"), time.monotonic() + seconds
    while not condition():
        pump.tick()
        time.sleep(0.02)
        if time.monotonic() > end:
            jobs = [vars(job) for job in addon("runtime").session().jobs.values()]
            raise AssertionError(f"it never happened: {jobs}")


def case_generate() -> None:
    """The artist's way: body, rig, click, previews, result; nothing else changed; undo, save, reopen."""
    body = add_body(proxy_pose="relaxed")
    small(bpy.context.scene.vitruvian)
    before = fingerprint(body)
    bpy.ops.ed.undo_push(message="before Generate")
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    session = addon("runtime").session()
    (job,) = session.jobs.values()
    until(lambda: job.ended)
    assert job.state == "ready", vars(job)
    assert job.preview_number > 0, "previews came on the way"
    until(lambda: body.vitruvian.job == job.id)
    assert fingerprint(body) == before
    bpy.ops.ed.undo()
    body = bpy.data.objects["Body"]
    assert body.vitruvian.job == "", "one step took it away"
    assert not any(slot.material for slot in body.material_slots)
    assert fingerprint(body) == before
    bpy.ops.ed.redo()
    body = bpy.data.objects["Body"]
    assert body.vitruvian.job == job.id
    image = body.material_slots[0].material.node_tree.nodes["Albedo"].image
    assert tuple(image.size) == (512, 512)
    pixels = np.empty(512 * 512 * 4, np.float32)
    image.pixels.foreach_get(pixels)
    assert pixels.reshape(-1, 4)[:, 3].min() == 1.0
    assert pixels.reshape(-1, 4)[:, :3].max() > 0.2, "there is something on it"
    path = str(FOLDER / "done.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    body = bpy.data.objects["Body"]
    assert fingerprint(body) == before
    assert body.vitruvian.job == job.id
    assert '"seed"' in body.vitruvian.report


def case_batch() -> None:
    """Two bodies of the file's list, one prompt each."""
    panel = bpy.context.scene.vitruvian
    prints = {}
    for name, prompt in (
        ("Ada", "a woman in a green dress, seconds=1"),
        ("Bob", "a man in a suit, seconds=1"),
    ):
        panel.body = None
        body = add_body()
        body.name = name
        small(panel)
        body.select_set(True)
        assert bpy.ops.vitruvian.batch_add() == {"FINISHED"}
        panel.batch[-1].prompt = prompt
        body.select_set(False)
        prints[name] = fingerprint(body)
    assert bpy.ops.vitruvian.batch_start() == {"FINISHED"}
    until(lambda: all(bpy.data.objects[name].vitruvian.job for name in prints))
    jobs = addon("runtime").session().jobs
    for name, print_before in prints.items():
        body = bpy.data.objects[name]
        assert fingerprint(body) == print_before
        line = next(line for line in panel.batch if line.body == body)
        assert jobs[body.vitruvian.job].prompt == line.prompt
    until(lambda: addon("batch_scene").current() is None)
    assert bpy.ops.vitruvian.batch_start() == {"FINISHED"}
    until(lambda: addon("batch_scene").current() is None)
    assert len(jobs) == 2, "what is done is not done again"


def case_writes_only_in_its_own_folder() -> None:
    """A whole job, with Python told of each file that is opened for writing, made, moved or removed."""
    own = addon("compat").user_folder().resolve()
    touched: list[Path] = []
    events = {
        "open",
        "os.mkdir",
        "os.rename",
        "os.remove",
        "os.rmdir",
        "os.truncate",
        "os.link",
        "os.symlink",
    }

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event not in events or not isinstance(arguments[0], str | bytes | os.PathLike):
            return
        if event == "open" and not (arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)):
            return
        base = Path.cwd()
        if event in ("os.remove", "os.rmdir") and arguments[1] >= 0:  # below a folder that is open
            base = Path(f"/proc/self/fd/{arguments[1]}").resolve()
        paths = arguments[:2] if event == "os.rename" else arguments[:1]
        touched.extend(base / os.fsdecode(path) for path in paths)

    add_body()
    small(bpy.context.scene.vitruvian)
    sys.addaudithook(hear)
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    (job,) = addon("runtime").session().jobs.values()
    until(lambda: bpy.context.scene.vitruvian.body.vitruvian.job == job.id)
    bpy.ops.vitruvian.forget(job=job.id)
    addon("runtime").make_keys()
    assert bpy.ops.vitruvian.copy_report() == {"FINISHED"}
    written = {path.resolve() for path in touched} - {Path(os.devnull)}
    assert {path.name for path in written} >= {"jobs.json", "albedo.png", "report.json", "keys.json"}
    outside = {path for path in written if not path.is_relative_to(own)}
    assert not {path for path in outside if "__pycache__" not in path.parts}, "Python's own cache apart"


def case_cancel() -> None:
    add_body()
    panel = bpy.context.scene.vitruvian
    small(panel)
    panel.steps, panel.prompt = 200, f"{panel.prompt} seconds=60"
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    (job,) = addon("runtime").session().jobs.values()
    until(lambda: job.state == "running" and job.fraction > 0)
    bpy.ops.vitruvian.cancel(job=job.id)
    until(lambda: job.state == "cancelled")
    assert not panel.body.vitruvian.job


def case_bad_scene_then_a_good_one() -> None:
    """What the real client refuses is told, and the connection is none the worse."""
    body = add_body()
    panel = bpy.context.scene.vitruvian
    small(panel)
    body.data.vertices[0].co.x = 1e30
    assert "implausible size" in refused(bpy.ops.vitruvian.generate)
    assert addon("runtime").session().refusal is not None
    assert not addon("runtime").session().jobs
    body.data.vertices[0].co.x = 0.1
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    assert addon("runtime").session().refusal is None
    (job,) = addon("runtime").session().jobs.values()
    until(lambda: body.vitruvian.job == job.id)


def case_the_server_goes_and_comes() -> None:
    """Reconnecting by hand in the middle of a job: it is found again."""
    body = add_body()
    small(bpy.context.scene.vitruvian)
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    session = addon("runtime").session()
    (job,) = session.jobs.values()
    until(lambda: job.state == "running")
    assert bpy.ops.vitruvian.reconnect() == {"FINISHED"}
    until(lambda: body.vitruvian.job == job.id)
    assert job.files


def case_killed() -> None:
    """Blender dies in the middle of a job; the file was saved before."""
    add_body()
    small(bpy.context.scene.vitruvian)
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(FOLDER / "killed.blend"))
    (job,) = addon("runtime").session().jobs.values()
    until(lambda: job.state == "running")
    os.kill(os.getpid(), signal.SIGKILL)


def case_quit() -> None:
    """What Blender calls when it quits, in the middle of a job: nothing beats or listens any more."""
    add_body()
    small(bpy.context.scene.vitruvian)
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    bpy.ops.wm.save_as_mainfile(filepath=str(FOLDER / "killed.blend"))
    (job,) = addon("runtime").session().jobs.values()
    until(lambda: job.state == "running")
    client, closed = addon("runtime").session()._client, []
    close = client.close
    client.close = lambda: closed.append(True) or close()
    for _ in range(2):  # some versions by a handler and at the interpreter's end
        addon("handlers")._before_exit()
        assert not bpy.app.timers.is_registered(addon("pump").tick)
        assert addon("runtime")._session is None
    assert closed == [True]


def case_opened_again() -> None:
    """The next Blender finds the job; its result waits until its file is open."""
    fresh()
    addon("pump").tick()  # the first beat connects by itself, because a job is under way
    (job,) = addon("runtime").session().jobs.values()
    until(lambda: job.state == "ready")
    assert not job.offered
    bpy.ops.wm.open_mainfile(filepath=str(FOLDER / "killed.blend"))
    until(lambda: bpy.data.objects["Body"].vitruvian.job == job.id)


def encrypt(server_key: str) -> None:
    preferences = addon("preferences").get()
    preferences.use_keys, preferences.server_key = True, server_key
    assert bpy.ops.vitruvian.reconnect() == {"FINISHED"}


def case_a_stranger_is_refused() -> None:
    """An artist makes a key with the button; before the server knows it, nothing goes through."""
    session = addon("runtime").session()
    preferences = addon("preferences").get()
    preferences.use_keys = True
    assert "keys for the server are incomplete" in refused(bpy.ops.vitruvian.reconnect)
    assert "has no key yet" in refused(bpy.ops.vitruvian.copy_public_key)
    assert bpy.ops.vitruvian.make_keys() == {"FINISHED"}
    assert bpy.ops.vitruvian.make_keys() == {"FINISHED"}, "which makes no second one"
    (FOLDER / "my.key").write_text(addon("runtime").my_public_key())
    assert (addon("compat").user_folder() / "keys.json").stat().st_mode & 0o077 == 0
    encrypt((FOLDER / "server.key").read_text())
    until(lambda: session.connection == "refused", 60)
    assert session.error.code == "AUTH"
    assert "not on the server's list" in session.error.sentence
    assert session.error.button == ("vitruvian.copy_public_key", "Copy my key")
    assert "not on the server's list" in " ".join(draw_all())
    add_body()
    small(bpy.context.scene.vitruvian)
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    (job,) = session.jobs.values()
    settle()
    for _ in range(20):
        addon("pump").tick()
    assert job.state == "sending", "it waits; nothing was lost"
    until(lambda: session.connection == "refused", 60)
    bpy.ops.vitruvian.cancel(job=job.id)
    until(lambda: job.state == "cancelled", 60)
    encrypt("".join(reversed((FOLDER / "server.key").read_text())))
    until(lambda: session.error is not None, 60)
    assert session.connection != "ready", "nor is anybody who is not the server greeted"


def case_a_job_over_an_encrypted_connection() -> None:
    encrypt((FOLDER / "server.key").read_text())
    body = add_body()
    small(bpy.context.scene.vitruvian)
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    (job,) = (job for job in addon("runtime").session().jobs.values() if not job.ended)
    until(lambda: body.vitruvian.job == job.id)
    assert addon("runtime").session().error is None
    text = addon("report_text").make_report(job.id)
    keys = (addon("compat").user_folder() / "keys.json").read_text()
    assert not any(secret in text for secret in json.loads(keys).values())
