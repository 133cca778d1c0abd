"""A job's way through the session, against a scripted server; no Blender, no socket, no real clock."""

from __future__ import annotations

import pytest
from world import (
    World,
    fetching,
    job_words,
)

from vitruvian_protocol import events
from vitruvian_protocol.errors import explain


def test_a_job_goes_its_whole_way(world: World) -> None:
    world.online()
    job_id = world.send()
    job = world.session.jobs[job_id]
    assert (job.state, world.client.submitted) == ("sending", [job_id])
    world.client.say(events.Uploading(job_id, 5, 10), events.Accepted(job_id, 3))
    world.session.tick()
    assert (job.state, job.position) == ("queued", 3)
    assert job_words.describe(job) == "Waiting, 3 before it (sending the scene)"
    world.client.say(
        events.Started(job_id, 1, seq=1),
        events.Stage(job_id, "painting", seq=2),
        events.Progress(job_id, "painting", 0.4, 30.0, 1),
        events.Preview(job_id, b"jpeg", "sheet"),
    )
    assert world.kinds() == ["job", "progress", "preview"]
    assert (job.state, job.fraction, job.eta_s) == ("running", 0.4, 30.0)
    assert job.previews == {"sheet": b"jpeg"}
    world.client.finish(job_id, "albedo.png", "coverage.png", "human.glb", "report.json", seq=3)
    world.session.tick()
    assert job.state == "fetching"
    assert {name for _, name, _ in world.client.fetched} == {"albedo.png", "coverage.png", "report.json"}
    world.client.deliver(job_id)
    assert "ready" in world.kinds()
    assert job.state == "ready"
    assert world.session.list.path_of(job, "albedo.png").read_bytes() == b"0123456789"
    assert world.session.list.path_of(job, "human.glb") is None


@pytest.mark.parametrize("outcome", ["dequeued", "stopping", "already_terminal", "unknown"])
def test_cancel(world: World, outcome: str) -> None:
    world.online()
    job_id = world.send()
    world.client.say(events.Accepted(job_id, 0))
    world.session.tick()
    world.session.cancel(job_id)
    job = world.session.jobs[job_id]
    assert job_words.describe(job) == "Cancelling"
    assert world.client.cancelled == [job_id]
    world.client.say(events.CancelAcked(job_id, outcome))
    if outcome in ("dequeued", "stopping"):
        world.client.say(events.Cancelled(job_id, seq=1))
    if outcome == "already_terminal":
        world.client.finish(job_id, seq=1)
    world.session.tick()
    assert job.state == ("fetching" if outcome == "already_terminal" else "cancelled")
    assert not job.cancelling


def test_a_cancelled_job_stays_cancelled(world: World) -> None:
    world.online()
    job_id = world.send()
    world.client.say(events.Cancelled(job_id, seq=2), events.Progress(job_id, "painting", 0.9, None, 1))
    world.client.finish(job_id, seq=3)
    world.session.tick()
    assert world.session.jobs[job_id].state == "cancelled"
    assert world.client.fetched == []


def test_a_rejected_job_tells_why_and_the_next_one_is_fine(world: World) -> None:
    world.online()
    first = world.send()
    world.client.say(events.Rejected(first, explain("QUEUE_FULL", problem="12 jobs ahead")))
    world.session.tick()
    error = world.session.jobs[first].error
    assert error.sentence == "The server is busy: 12 jobs ahead; nothing was lost"
    second = world.send()
    world.client.say(events.Accepted(second, 0))
    world.session.tick()
    assert world.session.jobs[second].state == "queued"


def test_a_damaged_download_is_fetched_again_and_gives_up_in_the_end(world: World) -> None:
    world.online()
    job_id = world.send()
    world.client.say(events.Accepted(job_id, 0))
    world.client.finish(job_id, "albedo.png")
    world.session.tick()
    for _ in range(fetching.ATTEMPTS):
        assert world.session.jobs[job_id].state == "fetching"
        world.client.say(events.FetchFailed(job_id, "albedo.png", explain("CORRUPT", problem="hash")))
        world.session.tick()
    job = world.session.jobs[job_id]
    assert (job.state, job.error.code) == ("failed", "CORRUPT")
    world.session.fetch_again(job_id)
    world.client.deliver(job_id)
    world.session.tick()
    assert (job.state, job.error) == ("ready", None)


def test_a_lesser_file_that_is_gone_does_not_spoil_the_result(world: World) -> None:
    world.online()
    job_id = world.send()
    world.client.finish(job_id, "albedo.png", "coverage.png")
    world.session.tick()
    world.client.fetched = [entry for entry in world.client.fetched if entry[1] == "albedo.png"]
    world.client.say(events.FetchFailed(job_id, "coverage.png", explain("UNKNOWN_ARTIFACT")))
    world.client.deliver(job_id)
    world.session.tick()
    job = world.session.jobs[job_id]
    assert job.state == "ready"
    assert "coverage.png" in job.warnings[0]


def test_a_result_without_a_texture_is_none(world: World) -> None:
    world.online()
    job_id = world.send()
    world.client.finish(job_id, "report.json")
    world.session.tick()
    world.client.deliver(job_id)
    world.session.tick()
    assert world.session.jobs[job_id].error.code == "UNKNOWN_ARTIFACT"


def test_events_of_unknown_jobs_and_garbage_change_nothing(world: World) -> None:
    world.online()
    world.client.say(events.Progress("nobody", "x", 0.1, None, 1), object())
    assert world.session.tick() == []


def test_times_are_told_in_words() -> None:
    assert job_words.time_left(None) == ""
    assert job_words.time_left(12.2) == "about 12 s left"
    assert job_words.time_left(200.0) == "about 3 min left"
