"""Buttons and panels. Cases for `run_case.py`."""

import bpy  # pyright: ignore[reportMissingImports]
import numpy as np
from kit import FOLDER, MODULE, add_body, addon, beat, draw_all, finish, jpeg, refused, send, server, settle


def case_register_and_leave() -> None:
    """Everything comes and everything goes, twice."""
    for _ in range(2):
        assert hasattr(bpy.types, "VITRUVIAN_PT_generate")
        assert hasattr(bpy.context.scene, "vitruvian")
        pump = addon("pump")
        assert bpy.app.timers.is_registered(pump.tick)
        bpy.ops.preferences.addon_disable(module=MODULE)
        assert not bpy.app.timers.is_registered(pump.tick)
        assert not hasattr(bpy.context.scene, "vitruvian")
        assert not [name for name in dir(bpy.types) if name.startswith("VITRUVIAN_")]
        handlers = [
            h for name in ("load_pre", "load_post", "undo_post") for h in getattr(bpy.app.handlers, name)
        ]
        assert not [h for h in handlers if h.__module__.startswith(MODULE)]
        bpy.ops.preferences.addon_enable(module=MODULE)


def case_every_button_does_something_and_says_why_it_cannot() -> None:
    """Blender's operators cannot have abc's metaclass, so this looks for what is left out."""
    button, problems = addon("button"), addon("problems")
    names = ("operators_scene", "operators_job", "operators_backend", "operators_batch")
    operators = [kind for name in names for kind in addon(name).CLASSES]
    assert all(issubclass(kind, button.Button) and callable(kind.act) for kind in operators)
    assert not hasattr(button.Button, "act")
    known = {kind.bl_idname for kind in operators}
    assert {operator for operator, _ in problems.BUTTONS.values()} <= known, "a remedy without a button"
    told: dict[str, str] = {}

    def why_not() -> None:
        for kind in operators:
            reason = kind.why_not(bpy.context)
            told.update({kind.bl_idname: reason} if reason else {})
            poll = getattr(bpy.ops.vitruvian, kind.bl_idname.partition(".")[2]).poll
            assert poll() == (not reason), kind.bl_idname

    why_not()
    assert told["vitruvian.generate"] == "Select a body mesh, or add the free body"
    assert told["vitruvian.repair_uv"] == told["vitruvian.add_rig"] == addon("operators_scene").NO_BODY
    assert {"vitruvian.show_rig", "vitruvian.use_active", "vitruvian.take_off"} <= told.keys()
    add_body()
    bpy.ops.object.mode_set(mode="EDIT")
    told.clear()
    why_not()
    assert told.keys() >= {"vitruvian.add_proxy", "vitruvian.repair_uv", "vitruvian.repair_mesh"}
    assert "vitruvian.generate" not in told, "also in the middle of an edit"
    assert set(told.values()) >= {"Leave edit, pose or paint mode first", "Leave edit or paint mode first"}


def case_cancel_and_errors() -> None:
    from vitruvian_protocol import events
    from vitruvian_protocol.errors import explain

    client = server()
    body = add_body()
    job = send(client)
    bpy.ops.vitruvian.cancel(job=job.id)
    assert client.cancelled == [job.id]
    client.say(events.CancelAcked(job.id, "stopping"), events.Cancelled(job.id, seq=2))
    beat()
    assert job.state == "cancelled"
    failing = send(client)
    client.say(events.Failed(failing.id, explain("OUT_OF_VRAM", problem="12 GB"), seq=2))
    beat()
    draw_all()
    assert bpy.ops.vitruvian.retry(job=failing.id) == {"FINISHED"}
    settle()
    assert len(client.submitted) == 3
    text = addon("report_text").make_report(failing.id)
    assert "OUT_OF_VRAM" in text
    assert bpy.ops.vitruvian.copy_report(job=failing.id) == {"FINISHED"}
    bpy.ops.vitruvian.use_settings(job=failing.id)
    bpy.ops.vitruvian.forget(job=failing.id)
    assert failing.id not in addon("runtime").session().jobs
    bpy.context.scene.vitruvian.prompt = "  "
    assert not bpy.ops.vitruvian.generate.poll()
    bpy.context.scene.vitruvian.prompt = "a man"
    body.data.vertices[3].co.x = float("nan")
    jobs = len(addon("runtime").session().jobs)
    from vitruvian_protocol.scene_file import pack_scene

    client.pack = lambda scene, _: pack_scene(scene)  # the real client checks before it sends
    assert "invalid numbers" in refused(bpy.ops.vitruvian.generate)
    assert addon("runtime").session().refusal.button[0] == "vitruvian.repair_mesh"
    assert len(addon("runtime").session().jobs) == jobs
    assert any("invalid numbers" in label for label in draw_all())
    assert "invalid numbers" in addon("report_text").make_report()
    bpy.ops.vitruvian.roll_seed()
    assert any("invalid numbers" in label for label in draw_all()), "nothing has been put right"
    bpy.ops.vitruvian.repair_mesh()
    assert not any("invalid numbers" in label for label in draw_all()), "the repair takes it away"
    assert np.isfinite(addon("uv_layout").read(body.data.vertices, "co", np.float32, 3)).all()


def case_method_and_image_model_are_the_artists_choice() -> None:
    client = server()
    add_body()
    panel, session = bpy.context.scene.vitruvian, addon("runtime").session()
    assert "Connect to see what the server offers" in draw_all()
    assert send(client).settings["prior"] == "mini", "as long as the server has said nothing"
    client.greet(priors=["studio", "mini"], methods=["mvhuman"])
    beat()
    assert send(client).settings["prior"] == "studio", "the server's first"
    assert bpy.ops.vitruvian.choose(field="prior", name="mini") == {"FINISHED"}
    job = send(client)
    assert (job.settings["prior"], job.settings["method"]) == ("mini", "mvhuman")
    client.greet(priors=["studio"], methods=["other"])
    beat()
    sent = len(client.submitted)
    told = refused(bpy.ops.vitruvian.generate)
    assert 'does not offer the image model "mini"' in told
    assert "studio" in told
    assert len(client.submitted) == sent == len(session.jobs)
    assert any("does not offer" in label for label in draw_all())
    bpy.ops.vitruvian.choose(field="prior", name="")
    assert bpy.ops.vitruvian.generate() == {"FINISHED"}
    bpy.ops.vitruvian.use_settings(job=job.id)
    assert panel.prior == "mini"


def case_panels_draw_in_every_state() -> None:
    from vitruvian_protocol import events

    draw_all()
    client = server()
    body = add_body()
    for mode in ("AUTO", "RIG", "OWN"):
        bpy.context.scene.vitruvian.camera_mode = mode
        draw_all()
    bpy.ops.vitruvian.add_rig()
    bpy.context.scene.vitruvian.steps = 33
    assert "Changed by hand" in draw_all()
    bpy.context.scene.vitruvian.preset = "HIGH"
    assert bpy.context.scene.vitruvian.texture_size == "2048"
    job = send(client)
    client.say(
        events.Progress(job.id, "painting", 0.25, 40.0, 1),
        events.Preview(job.id, jpeg(), "sheet"),
        events.Warned(job.id, "UVs overlap", seq=2),
    )
    beat()
    said = draw_all()
    assert "Painting  25%" in " ".join(said) or any("25%" in text for text in said)
    assert "about 40 s left" in said
    finish(client, job)
    draw_all()
    body.name = "Another"
    bpy.data.objects.remove(body)
    assert any("Unclaimed" in text for text in draw_all())
    client.lose()
    beat()
    assert any("connection is lost" in text for text in draw_all())
    empty = bpy.data.objects.new("empty", bpy.data.meshes.new("empty"))
    bpy.context.scene.collection.objects.link(empty)
    bpy.context.scene.vitruvian.body = empty
    draw_all()
    beat()
    assert any("no faces" in text for text in draw_all())


def case_the_sections_are_in_order() -> None:
    """In the sidebar, one tab; sections inside others stand under theirs."""
    kinds = [kind for name in ("panels_setup", "panels_jobs", "panels_batch") for kind in addon(name).CLASSES]
    panels = [kind for kind in kinds if issubclass(kind, bpy.types.Panel)]
    assert {(kind.bl_space_type, kind.bl_region_type, kind.bl_category) for kind in panels} == {
        ("VIEW_3D", "UI", "Vitruvian")
    }
    top = [kind.bl_label for kind in panels if not hasattr(kind, "bl_parent_id")]
    assert top == ["Body", "Cameras", "Prompt", "Quality", "Generate", "Progress", "Results", "Batch"]
    inner = {kind.bl_label: kind.bl_parent_id for kind in panels if hasattr(kind, "bl_parent_id")}
    assert inner == {"Free Body": "VITRUVIAN_PT_body", "Prompt per Camera": "VITRUVIAN_PT_prompt"}


def case_small_buttons_do_what_they_say() -> None:
    client = server()
    body, other = add_body(), add_body()
    panel, session = bpy.context.scene.vitruvian, addon("runtime").session()
    bpy.context.view_layer.objects.active = body
    assert bpy.ops.vitruvian.use_active() == {"FINISHED"}
    assert panel.body == body != other
    seeds = set()
    for _ in range(3):
        bpy.ops.vitruvian.roll_seed()
        seeds.add(panel.seed)
    assert len(seeds) == 3
    panel.seed_locked = False
    job = send(client)
    assert job.settings["seed"] == panel.seed
    assert panel.seed not in seeds, "unlocked, each Generate rolls another"
    panel.seed_locked = True
    assert send(client).settings["seed"] == panel.seed
    bpy.ops.vitruvian.add_rig()
    assert bpy.ops.vitruvian.select_camera(name="body_000") == {"FINISHED"}
    assert bpy.context.scene.camera.name == "body_000"
    assert "No camera is called" in refused(lambda: bpy.ops.vitruvian.select_camera(name=body.name))
    assert "has no files" in refused(lambda: bpy.ops.vitruvian.open_folder(job=job.id))
    assert "no longer in the list" in refused(lambda: bpy.ops.vitruvian.cancel(job="gone"))
    beat()
    assert session.connection == "ready"
    assert bpy.ops.vitruvian.release_memory() == {"FINISHED"}
    beat()
    assert "gave their memory back" in " ".join(draw_all())
    assert bpy.ops.vitruvian.preview_coverage() == {"FINISHED"}
    assert "of the surface is seen" in " ".join(draw_all())
    assert addon("overlay").coverage_is_shown()
    assert bpy.ops.vitruvian.preview_coverage() == {"FINISHED"}
    assert not addon("overlay").coverage_is_shown()


def case_the_panel_shows_the_newest_sheet() -> None:
    """And nothing of it stays in the file, nor on the disk."""
    from vitruvian_protocol import events

    client = server()
    add_body()
    job = send(client)
    previews = addon("previews")
    images = list(bpy.data.images)
    for red in (0.2, 0.9):
        client.say(events.Preview(job.id, jpeg(red), "sheet"), events.Preview(job.id, jpeg(), "texture"))
        beat(1)
        while job.previews:  # the beats may have a body to look at, too
            beat(1)
        icon = previews._icons[job.id]
        assert tuple(icon.image_size) == (32, 32)
        pixels = np.array(icon.image_pixels_float[:]).reshape(-1, 4)
        assert np.abs(pixels.mean(axis=0) - [red, 0.1, 0.1, 1.0]).max() < 0.02
        draw_all()
    client.say(events.Preview(job.id, b"GIF89a", "sheet"))
    beat(1)
    assert tuple(icon.image_size) == (32, 32), "what is no JPEG is not shown"
    finish(client, job)
    assert tuple(icon.image_size) == (0, 0)
    kept = {item.name for item in bpy.data.images} - {item.name for item in images}
    assert kept == {"Body albedo", "Body coverage"}
    assert not (addon("compat").user_folder() / "previews").exists()


def case_a_batch_in_the_window() -> None:
    client = server()
    panel = bpy.context.scene.vitruvian
    for index in range(3):
        body = add_body()
        body.name = f"Person {index}"
    for item in bpy.context.scene.objects:
        item.select_set(item.type == "MESH")
    assert bpy.ops.vitruvian.batch_add() == {"FINISHED"}
    assert len(panel.batch) == 3
    table = FOLDER / "prompts.csv"
    table.write_text("body,prompt,seed\nPerson 1,a king,5\n")
    assert bpy.ops.vitruvian.batch_csv(filepath=str(table)) == {"FINISHED"}
    assert [line.prompt for line in panel.batch if line.body.name == "Person 1"] == ["a king"]
    assert bpy.ops.vitruvian.batch_start() == {"FINISHED"}
    for _ in range(4):
        beat()
        settle()
    assert len(client.submitted) == 3
    jobs = addon("runtime").session().jobs
    assert sorted(job.prompt == "a king" for job in jobs.values()) == [False, False, True]
    draw_all()
    for job in list(jobs.values()):
        finish(client, job)
    beat(8)
    assert all(bpy.data.objects[f"Person {i}"].vitruvian.job in jobs for i in range(3))
    assert addon("batch_scene").current() is None
    assert bpy.ops.vitruvian.batch_start() == {"FINISHED"}
    beat(5)
    assert len(client.submitted) == 3, "what is done is not done again"
    bpy.ops.vitruvian.batch_remove(everything=True)
    assert len(panel.batch) == 0
    assert "There is no mesh among them" in refused(
        lambda: bpy.ops.vitruvian.batch_add(whole_collection=True)
    )
    panel.batch_collection = bpy.data.collections.new("crowd")
    for name in ("Person 0", "Person 2"):
        panel.batch_collection.objects.link(bpy.data.objects[name])
    assert bpy.ops.vitruvian.batch_add(whole_collection=True) == {"FINISHED"}
    assert [line.body.name for line in panel.batch] == ["Person 0", "Person 2"]
