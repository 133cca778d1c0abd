"""How a job leaves: looked at first, on the disk before, and again where the connection was lost."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from scripted import small_scene
from world import (
    TARGET,
    World,
    connection,
    job_words,
    problems,
    session_module,
)

from vitruvian_protocol import events
from vitruvian_protocol.errors import ProtocolError
from vitruvian_protocol.scene import Settings


def look(world: World, slices: int, finding: object = None) -> Iterator[int]:
    """A look whose every slice takes a second of the world's time."""
    for _ in range(slices):
        world.time += 1.0
        yield 1
    return finding


def send_after(world: World, check: Iterator[int]) -> Any:
    return world.session.generate(small_scene(), Settings("a man"), TARGET, check=check)


def test_a_job_leaves_once_it_was_looked_at_and_no_tick_takes_it_all(world: World) -> None:
    world.online()
    job = send_after(world, look(world, 4))
    assert (job.state, world.client.submitted) == ("checking", [])
    assert job_words.describe(job) == "Looking at the UV map"
    for _ in range(2):
        assert world.session.tick(2.0) == []
        assert world.session.hurried
        assert world.session.looking
    assert world.kinds() == ["job"]
    assert (job.state, world.client.submitted) == ("sending", [job.id])
    assert not world.session.looking


def test_a_scene_that_was_completed_meanwhile_is_what_is_sent(world: World) -> None:
    """Packing it is the work of a tick of its own; without a connection it waits for the next one."""
    world.online()
    whole, packed = small_scene(), []
    world.client.pack = lambda scene, settings: packed.append(scene) or (scene, settings)
    job = send_after(world, look(world, 1, whole))
    packed.clear()
    world.session.tick(9.0)
    assert (job.state, packed, world.session.looking) == ("checking", [], True)
    world.session.tick(9.0)
    assert (packed, world.client.submitted, job.state) == ([whole], [job.id], "sending")
    assert not world.session.looking
    waiting = send_after(world, look(world, 1, whole))
    world.session.disconnect()
    for _ in range(3):
        world.session.tick(9.0)
    assert (waiting.state, world.session.looking) == ("sending", False)
    world.online()
    assert world.client.submitted == [job.id, waiting.id]


def test_a_completed_scene_that_cannot_be_sent_fails_alone(world: World) -> None:
    world.online()
    bad, good = (send_after(world, look(world, 1, small_scene())) for _ in range(2))
    world.client.refuse = ProtocolError("BAD_SCENE:RIG", "$.mesh.rig", "has a name twice")
    for _ in range(2):
        world.session.tick(9.0)
    world.client.refuse = None
    for _ in range(2):
        world.session.tick(9.0)
    assert (bad.state, bad.error.code) == ("failed", "BAD_SCENE:RIG")
    assert world.client.submitted == [good.id]
    saved = json.loads((world.folder / "jobs.json").read_text())["jobs"]
    assert [entry["state"] for entry in saved] == ["failed", "sending"]


def test_what_a_look_finds_ends_the_job_and_the_next_one_is_looked_at(world: World) -> None:
    world.online()
    overlap = problems.Told("BAD_SCENE:UV", "Parts overlap", "Unwrap")
    bad, broken, good = (
        send_after(world, look(world, 1, overlap)),
        send_after(world, (1 // (n - n) for n in range(3))),
        send_after(world, look(world, 1)),
    )
    for _ in range(3):
        world.session.tick(9.0)
    assert (bad.state, bad.error) == ("failed", overlap)
    assert (broken.state, broken.error.code) == ("failed", "INTERNAL")
    assert world.client.submitted == [good.id]


def test_a_job_that_is_looked_at_can_be_cancelled_and_does_not_survive_blender(world: World) -> None:
    world.online()
    cancelled, left = send_after(world, look(world, 1)), send_after(world, look(world, 1))
    world.session.cancel(cancelled.id)
    assert cancelled.state == "cancelled"
    world.start()
    world.online()
    job = world.session.jobs[left.id]
    assert (job.state, job.error.code, job.error.retry) == ("failed", "NOT_SENT", "auto")
    assert world.client.attached == []


def test_what_was_not_sent_yet_is_sent_on_the_next_connection(world: World) -> None:
    world.online()
    looked_at, on_its_way, known = send_after(world, look(world, 3)), world.send(), world.send()
    world.client.say(events.Accepted(known, 0))
    world.session.tick(0.0)
    world.session.disconnect()
    world.session.cancel(known)
    world.session.tick()
    assert looked_at.state == "checking"
    world.online()
    assert world.client.submitted == [on_its_way]
    assert (world.client.attached, world.client.cancelled) == ([(known, 0)], [known])
    for _ in range(2):
        world.session.tick()
    assert world.client.submitted == [on_its_way, looked_at.id]


def test_a_job_for_another_server_waits_for_that_one(world: World) -> None:
    world.online()
    job = send_after(world, look(world, 1))
    world.session.use(connection.Endpoint("tcp://127.0.0.1:2"))
    world.client.greet()
    for _ in range(3):
        world.session.tick()
    assert world.client.submitted == []
    world.online()
    assert world.client.submitted == [job.id]


def test_the_number_is_on_disk_before_anything_is_sent(world: World) -> None:
    world.online()
    seen: list[bool] = []
    submit = world.client.submit_packed

    def watched(packed: object, job_id: str | None = None) -> str:
        saved = json.loads((world.folder / "jobs.json").read_text())
        seen.append([job["id"] for job in saved["jobs"]] == [job_id])
        return submit(packed, job_id)

    world.client.submit_packed = watched  # pyright: ignore[reportAttributeAccessIssue]
    world.send()
    assert seen == [True]


def test_a_scene_that_cannot_be_sent_leaves_no_job(world: World) -> None:
    world.online()
    world.client.refuse = ProtocolError("BAD_SCENE:EMPTY", "$.mesh.faces", "has no faces")
    with pytest.raises(ProtocolError):
        world.send()
    assert world.session.jobs == {}
    assert not (world.folder / "jobs.json").exists()


def test_a_look_goes_on_without_a_connection_and_the_job_waits_for_one(world: World) -> None:
    world.online()
    job = send_after(world, look(world, 1))
    world.session.disconnect()
    world.time += session_module.UNREACHABLE_AFTER_S + 1
    for _ in range(2):
        world.session.tick()
    assert (job.state, world.session.hurried) == ("sending", False), "nothing is left to do meanwhile"
    assert world.session.error is None
    world.online()
    assert world.client.submitted == [job.id]
