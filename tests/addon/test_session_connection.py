"""The session when the connection or Blender itself goes and comes."""

from __future__ import annotations

import pytest
from world import (
    ENDPOINT,
    TARGET,
    World,
    connection,
    session_module,
)

from vitruvian_protocol import events
from vitruvian_protocol.errors import explain


def test_one_client_is_told_of_a_job_once_through_all_reconnects(world: World) -> None:
    world.online()
    job_id = world.send()
    world.client.say(events.Accepted(job_id, 0))
    world.session.tick()
    world.start()
    world.online()
    for _ in range(2):
        world.client.lose()
        world.client.greet()
        world.session.tick()
    assert world.client.attached == [(job_id, 0)]
    world.session.reconnect()
    world.client.greet()
    world.session.tick()
    assert world.client.attached == [(job_id, 0)]
    assert len(world.clients) == 3


def test_silence_is_told_after_a_while_and_taken_back(world: World) -> None:
    world.session.use(ENDPOINT)
    assert world.kinds() == []
    world.time += session_module.UNREACHABLE_AFTER_S + 1
    assert world.kinds() == ["connection"]
    assert world.session.error.code == "UNREACHABLE"
    assert world.session.error.button[0] == "vitruvian.backend_start"
    world.client.greet()
    world.session.tick()
    assert world.session.error is None


def test_jobs_of_another_address_wait_for_it(world: World) -> None:
    world.online()
    job_id = world.send()
    world.client.say(events.Accepted(job_id, 0))
    world.session.tick()
    world.session.use(connection.Endpoint("tcp://127.0.0.1:2"))
    world.client.greet()
    world.session.tick()
    assert world.clients[0].closed
    assert world.client.attached == []
    world.online()
    assert world.client.attached == [(job_id, 0)]


def test_memory_is_given_back_on_request(world: World) -> None:
    world.online()
    world.session.release_memory()
    assert world.kinds() == ["notice"]
    assert world.session.notice == "1 of the backend's devices gave their memory back"


@pytest.mark.parametrize("phase", ["sending", "queued", "running", "fetching"])
def test_blender_restarts_in_each_phase(world: World, phase: str) -> None:
    world.online()
    job_id = world.send()
    steps = {
        "sending": [],
        "queued": [events.Accepted(job_id, 0), events.Queued(job_id, 0, seq=1)],
        "running": [events.Accepted(job_id, 0), events.Started(job_id, 1, seq=1)],
        "fetching": [events.Accepted(job_id, 0)],
    }
    world.client.say(*steps[phase])
    if phase == "fetching":
        world.client.finish(job_id, seq=1)
    world.session.tick()
    world.start()
    world.online()
    job = world.session.jobs[job_id]
    if phase == "fetching":
        assert job.state == "fetching"
        assert world.client.attached == []
    else:
        assert world.client.attached == [(job_id, 1 if phase != "sending" else 0)]
        world.client.finish(job_id, seq=2)
        world.session.tick()
    world.client.deliver(job_id)
    world.session.tick()
    assert job.state == "ready"
    assert job.target == TARGET


def test_a_job_that_never_arrived_says_so(world: World) -> None:
    world.online()
    job_id = world.send()
    world.start()
    world.online()
    world.client.say(events.Failed(job_id, explain("UNKNOWN_JOB")))
    world.session.tick()
    assert world.session.jobs[job_id].error.code == "NOT_SENT"


def test_events_told_again_after_a_reconnect_count_once(world: World) -> None:
    world.online()
    job_id = world.send()
    world.client.say(events.Accepted(job_id, 0), events.Warned(job_id, "overlapping UVs", seq=1))
    world.session.tick()
    world.client.lose()
    assert world.kinds() == ["connection"]
    assert world.session.error.code == "LOST"
    world.client.greet()
    world.client.say(events.Warned(job_id, "overlapping UVs", seq=1), events.Started(job_id, 2, seq=2))
    world.session.tick()
    job = world.session.jobs[job_id]
    assert (job.warnings, job.attempt, world.session.error) == (["overlapping UVs"], 2, None)
