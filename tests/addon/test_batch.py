"""The batch queue: states, resume, retry, CSV; against a scripted server, without Blender."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedClient, small_scene

from vitruvian_protocol import events
from vitruvian_protocol.errors import explain
from vitruvian_protocol.scene import Settings

batch_module = import_module("vitruvian_addon.batch")
session_module = import_module("vitruvian_addon.session")
jobs_module = import_module("vitruvian_addon.jobs")
problems = import_module("vitruvian_addon.problems")


class World:
    """A batch over a scripted server; `restart` leaves only what is on disk."""

    def __init__(self, folder: Path, *names: str) -> None:
        self.folder, self.names, self.time = folder, names, 0.0
        self.sent: list[str] = []
        self.taken: list[str] = []
        self.broken: set[str] = set()
        self.restart()

    def restart(self, retry_failed: bool = False) -> None:
        self.client = ScriptedClient()
        self.session = session_module.Session(
            self.folder, lambda _: self.client, lambda: self.time, lambda: 1.0
        )
        self.session.use(import_module("vitruvian_addon.connection").Endpoint("tcp://127.0.0.1:1"))
        self.client.greet()
        self.session.tick()
        items = [batch_module.Item(name, f"prompt of {name}") for name in self.names]
        self.batch = batch_module.resumed(self.folder / "batch.json", items, retry_failed)
        self.runner = batch_module.Runner(self.batch, self.session, self._send, self._take, lambda: self.time)

    def _send(self, item: Any) -> Any:
        if item.body in self.broken:
            raise problems.Problem("BAD_SCENE:EMPTY", "There is no mesh", "Rename it back")
        self.sent.append(item.body)
        target = jobs_module.Target("f", "f.blend", f"uid {item.body}", item.body)
        return self.session.generate(small_scene(), Settings(item.prompt), target, batch=self.batch.tag(item))

    def _take(self, item: Any, job: Any) -> bool:
        self.taken.append(item.body)
        return True

    def steps(self, count: int = 20) -> None:
        for _ in range(count):
            self.session.tick()
            self.runner.step()

    def item(self, name: str) -> Any:
        return next(item for item in self.batch.items if item.body == name)

    def finish(self, name: str) -> None:
        job_id = self.item(name).job
        self.client.finish(job_id)
        self.session.tick()
        self.client.deliver(job_id)


def test_all_bodies_are_done_a_few_at_a_time(tmp_path: Path) -> None:
    names = [f"Body {i}" for i in range(6)]
    world = World(tmp_path, *names)
    world.steps()
    assert world.sent == names[: batch_module.AT_ONCE]
    for name in names:
        world.finish(name)
        world.steps()
    assert world.taken == names
    assert world.batch.finished
    assert world.batch.counts() == {"done": 6}


def test_a_crash_after_any_step_repeats_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, "A", "B")
    world.steps()
    world.finish("A")
    world.steps()
    world.restart()
    assert [item.state for item in world.batch.items] == ["done", "sent"]
    world.steps()
    assert world.sent == ["A", "B"]
    assert [job for job, _ in world.client.attached] == [world.item("B").job]
    world.client.finish(world.item("B").job, seq=1)
    world.session.tick()
    world.client.deliver(world.item("B").job)
    world.steps()
    assert world.taken == ["A", "B"]


def test_a_crash_between_sending_and_saving_finds_the_job_again(tmp_path: Path) -> None:
    world = World(tmp_path, "A")
    world.batch.save()
    job = world._send(world.item("A"))  # the batch was not saved after this
    world.restart()
    assert (world.item("A").state, world.item("A").job) == ("sent", job.id)
    world.steps()
    assert world.sent == ["A"]


def test_a_full_server_is_asked_again_later(tmp_path: Path) -> None:
    world = World(tmp_path, "A")
    world.steps(2)
    world.client.say(events.Rejected(world.item("A").job, explain("QUEUE_FULL", problem="busy")))
    world.steps()
    assert (world.item("A").state, world.sent) == ("waiting", ["A"])
    world.time += batch_module.LATER_S + 1
    world.steps()
    assert (world.item("A").state, world.sent) == ("sent", ["A", "A"])


def test_what_may_be_tried_again_is_and_then_fails(tmp_path: Path) -> None:
    world = World(tmp_path, "A", "B")
    world.broken.add("B")
    for _ in range(batch_module.ATTEMPTS):
        world.steps(3)
        world.client.say(events.Failed(world.item("A").job, explain("INTERNAL", error_id="7F"), seq=1))
    world.steps()
    assert world.sent == ["A"] * batch_module.ATTEMPTS
    assert [item.state for item in world.batch.items] == ["failed", "failed"]
    text = batch_module.summary(world.batch)
    assert "report id 7F" in text
    assert "There is no mesh" in text
    world.broken.clear()
    world.restart(retry_failed=True)
    world.steps()
    assert world.sent[-2:] == ["A", "B"]


def test_other_words_are_another_job(tmp_path: Path) -> None:
    world = World(tmp_path, "A")
    world.steps()
    world.finish("A")
    world.steps()
    items = [batch_module.Item("A", "a prompt of today")]
    again = batch_module.resumed(tmp_path / "batch.json", items)
    assert [item.state for item in again.items] == ["waiting"]


def test_stopping_cancels_what_is_under_way(tmp_path: Path) -> None:
    world = World(tmp_path, *"ABCDEF")
    world.steps()
    world.runner.cancel()
    assert len(world.client.cancelled) == batch_module.AT_ONCE
    assert world.batch.counts() == {"cancelled": 6}


def test_csv() -> None:
    items = batch_module.read_csv("\ufeffBody, Prompt ,seed\nAda,a woman,7\nBob,,\n\n", "a man")
    assert [(i.body, i.prompt, i.seed) for i in items] == [("Ada", "a woman", 7), ("Bob", "a man", 0)]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("prompt\na man", "does not name a column `body`"),
        ("", "does not name a column `body`"),
        ("body,prompt\nAda,", "Line 2 of the CSV lacks"),
        ("body,prompt,seed\nAda,x,-1", "Line 2 of the CSV has the seed '-1'"),
        ("body,prompt\nAda,x\nAda,y", "Line 3 of the CSV names 'Ada' again"),
    ],
)
def test_a_bad_csv_names_the_line(text: str, told: str) -> None:
    with pytest.raises(problems.Problem, match=told):
        batch_module.read_csv(text)


@pytest.mark.parametrize("text", ["", "{}", '{"id": "x", "items": [{}]}', "[1]"])
def test_a_damaged_queue_starts_afresh(tmp_path: Path, text: str) -> None:
    (tmp_path / "batch.json").write_text(text)
    world = World(tmp_path, "A")
    world.steps()
    assert world.sent == ["A"]
