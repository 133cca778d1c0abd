"""Whatever happens to file, body and add-on, in every phase of a job. Cases for `run_case.py`.

A job is brought to a phase, something happens, the job is brought to its end: nothing may break, and the
result is on the right body at once, after what the artist would do, or waits.
"""

from collections.abc import Callable
from typing import Any

import bpy  # pyright: ignore[reportMissingImports]
from kit import FILES, FOLDER, MODULE, add_body, addon, beat, finish, fresh, jpeg, server, settle

PHASES = ("looked at", "sent", "queued", "running", "previewed", "fetching", "ready")
PATH = str(FOLDER / "phase.blend")


class Story:
    """One job, its body, and the server that says what the phase needs."""

    def __init__(self, phase: str) -> None:
        fresh()
        self.phase = phase
        self.client = server()
        for old in list(addon("runtime").session().jobs):
            addon("runtime").session().forget(old)
        self.panel.auto_apply = True
        body = add_body()
        bpy.ops.wm.save_as_mainfile(filepath=PATH)
        bpy.ops.ed.undo_push(message="before Generate")
        self.name = body.name
        assert bpy.ops.vitruvian.generate() == {"FINISHED"}
        (self.id,) = addon("runtime").session().jobs
        self.told = 0
        if phase != "looked at":
            self.go_on_to(phase)

    @property
    def panel(self) -> Any:
        return bpy.context.scene.vitruvian

    @property
    def job(self) -> Any:
        return addon("runtime").session().jobs[self.id]

    @property
    def body(self) -> Any:
        return bpy.data.objects[self.name]

    def go_on_to(self, phase: str) -> None:
        """Say all that leads to the phase and was not said; "ready" is before the beat that hears of it."""
        from vitruvian_protocol import events

        settle()
        say, job = self.client.say, self.id
        sheet, texture = (events.Preview(job, jpeg(), kind) for kind in ("sheet", "texture"))
        steps: dict[str, Callable[[], None]] = {
            "sent": lambda: None,
            "queued": lambda: say(events.Accepted(job, 1), events.Queued(job, 1, seq=1)),
            "running": lambda: say(events.Started(job, 1, seq=2)),
            "previewed": lambda: say(sheet, texture),
            "fetching": lambda: self.client.finish(job, *FILES, seq=3),
            "ready": self.deliver,
        }
        names = list(steps)
        for name in names[self.told : names.index(phase) + 1]:
            steps[name]()
            if name != "ready":
                beat()
        self.told = max(self.told, names.index(phase) + 1)

    def deliver(self) -> None:
        from vitruvian_protocol import events

        for asked, name, target in self.client.fetched:
            if asked == self.id:
                target.write_bytes(FILES[name])
                self.client.say(events.Fetched(asked, name, target))
        self.client.fetched = []

    def end(self) -> None:
        """The job comes to its end, whatever happened."""
        self.go_on_to("ready")
        beat(12)
        assert self.job.state == "ready", (self.phase, vars(self.job))

    def must_be_worn(self) -> None:
        assert self.body.vitruvian.job == self.id, (self.phase, self.job.warnings)


def each_phase(happens: Callable[[Story], None]) -> None:
    for phase in PHASES:
        happens(Story(phase))


def case_the_body_is_renamed() -> None:
    def happens(story: Story) -> None:
        story.body.name = "Somebody"
        other = add_body()
        other.name = story.name
        story.end()
        assert bpy.data.objects["Somebody"].vitruvian.job == story.id, story.phase
        assert other.vitruvian.job == ""

    each_phase(happens)


def case_the_body_is_deleted() -> None:
    def happens(story: Story) -> None:
        bpy.data.objects.remove(story.body)
        add_body()
        story.end()
        assert story.body.vitruvian.job == "", "a namesake is somebody else"
        assert not story.job.offered, "the result waits"
        bpy.ops.wm.open_mainfile(filepath=PATH)
        beat(6)
        # Saved before the click, so the file does not know the job: the artist gives it to a body.
        assert bpy.ops.vitruvian.apply(job=story.id, to_chosen=True) == {"FINISHED"}
        story.must_be_worn()

    each_phase(happens)


def case_the_artist_undoes_and_redoes() -> None:
    def happens(story: Story) -> None:
        story.body.location.x += 1
        bpy.ops.ed.undo_push(message="moved")
        bpy.ops.ed.undo()
        if story.phase != "ready":  # there the next beats put the result on, which is a step of its own
            beat(2)
            bpy.ops.ed.redo()
            beat(2)
            bpy.ops.ed.undo()
        story.end()
        story.must_be_worn()

    each_phase(happens)


def case_modes_are_switched() -> None:
    def happens(story: Story) -> None:
        bpy.context.view_layer.objects.active = story.body
        for mode in ("EDIT", "SCULPT", "VERTEX_PAINT", "WEIGHT_PAINT", "TEXTURE_PAINT"):
            bpy.ops.object.mode_set(mode=mode)
            beat()
        story.end()
        assert story.body.vitruvian.job == "", (story.phase, "not in the middle of it")
        bpy.ops.object.mode_set(mode="OBJECT")
        beat(6)
        story.must_be_worn()

    each_phase(happens)


def case_a_new_file_is_begun() -> None:
    def happens(story: Story) -> None:
        bpy.ops.wm.save_as_mainfile(filepath=PATH)
        fresh()
        add_body()
        story.end()
        assert story.body.vitruvian.job == "", "never into another file"
        bpy.ops.wm.open_mainfile(filepath=PATH)
        beat(6)
        story.must_be_worn()

    each_phase(happens)


def case_a_file_that_cannot_be_opened_changes_nothing() -> None:
    def happens(story: Story) -> None:
        broken = FOLDER / "broken.blend"
        broken.write_bytes(b"BLENDER but no more")
        try:
            bpy.ops.wm.open_mainfile(filepath=str(broken))
        except RuntimeError as error:
            print(error)
        story.end()
        story.must_be_worn()

    each_phase(happens)


def case_the_addon_is_disabled_and_enabled() -> None:
    """As Blender's own quit does, too. What had not left yet is told; the rest goes on."""

    def happens(story: Story) -> None:
        from vitruvian_protocol import events

        bpy.ops.preferences.addon_disable(module=MODULE)
        bpy.ops.preferences.addon_enable(module=MODULE)
        story.client = server()
        addon("pump").tick()  # a job is under way: the first beat connects by itself
        beat(2)
        if story.phase == "looked at":
            assert (story.job.state, story.job.error.code) == ("failed", "NOT_SENT")
            return
        if story.phase in ("fetching", "ready"):
            assert story.client.fetched, "asked for again"
            story.told = 5
        else:
            assert [job for job, _ in story.client.attached] == [story.id], story.phase
            if story.phase == "sent":
                story.client.say(events.Accepted(story.id, 0))
        story.end()
        story.must_be_worn()

    each_phase(happens)


def case_another_file_is_opened_at_each_phase() -> None:
    """In whatever phase: the result waits for its own file and never enters another."""
    from vitruvian_protocol import events

    client = server()
    for phase in ("looked at", "sent", "running", "previewed", "fetching"):
        fresh()
        body = add_body()
        assert bpy.ops.vitruvian.generate() == {"FINISHED"}
        path = str(FOLDER / f"{phase}.blend")
        bpy.ops.wm.save_as_mainfile(filepath=path)
        if phase == "looked at":
            fresh()
        settle()
        job = addon("runtime").session().jobs[client.submitted[-1]]
        if phase not in ("looked at", "sent"):
            client.say(events.Accepted(job.id, 0), events.Started(job.id, 1, seq=1))
        if phase == "previewed":
            client.say(events.Preview(job.id, jpeg(), "sheet"), events.Preview(job.id, jpeg(), "texture"))
            beat()
            assert job.id in addon("previews")._icons
            assert not job.previews
        if phase == "fetching":
            client.finish(job.id, *FILES, seq=2)
        beat()
        fresh()
        add_body()
        finish(client, job)
        beat(5)
        assert job.state == "ready"
        assert not bpy.data.objects["Body"].vitruvian.job
        assert addon("bodies").find_body(job) is None
        bpy.ops.wm.open_mainfile(filepath=path)
        beat(5)
        body = bpy.data.objects["Body"]
        assert body.vitruvian.job == job.id, phase
