"""The session's state machine against a scripted server; no Blender, no socket, no real clock."""

from __future__ import annotations

import json
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedClient, small_scene

from vitruvian_protocol import events
from vitruvian_protocol.errors import ProtocolError, explain
from vitruvian_protocol.scene import Settings

session_module = import_module("vitruvian_addon.session")
jobs_module = import_module("vitruvian_addon.jobs")
job_words = import_module("vitruvian_addon.job_words")
connection = import_module("vitruvian_addon.connection")
fetching = import_module("vitruvian_addon.fetching")
problems = import_module("vitruvian_addon.problems")

TARGET = jobs_module.Target("file-1", "a.blend", "uid-1", "Body", "UVMap", "ab")
ENDPOINT = connection.Endpoint("tcp://127.0.0.1:1")


class World:
    """A session, its scripted clients, and a clock that the test moves."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clients: list[ScriptedClient] = []
        self.time = 100.0
        self.start()

    def start(self) -> None:
        """As after a restart of Blender: only what is on disk is left."""
        self.session = session_module.Session(self.folder, self._connect, lambda: self.time, lambda: 5.0)

    def _connect(self, endpoint: object) -> ScriptedClient:
        self.clients.append(ScriptedClient())
        return self.clients[-1]

    @property
    def client(self) -> ScriptedClient:
        return self.clients[-1]

    def online(self) -> None:
        self.session.use(ENDPOINT)
        self.client.greet()
        self.session.tick()

    def send(self) -> str:
        return self.session.generate(small_scene(), Settings("a man"), TARGET).id

    def kinds(self) -> list[str]:
        return [change.kind for change in self.session.tick()]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


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
    assert world.session.path_of(job, "albedo.png").read_bytes() == b"0123456789"
    assert world.session.path_of(job, "human.glb") is None


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


def test_events_of_unknown_jobs_and_garbage_change_nothing(world: World) -> None:
    world.online()
    world.client.say(events.Progress("nobody", "x", 0.1, None, 1), object())
    assert world.session.tick() == []


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"jobs": 3}', '{"jobs": [{"id": "../../x"}, 5, {"id": null}]}', '{"jobs": [{}]}']
)
def test_a_damaged_list_is_survived(tmp_path: Path, text: str) -> None:
    (tmp_path / "jobs.json").write_text(text)
    world = World(tmp_path)
    assert world.session.jobs == {}
    world.online()
    world.send()
    assert len(json.loads((tmp_path / "jobs.json").read_text())["jobs"]) == 1


def test_old_jobs_and_their_files_are_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(import_module("vitruvian_addon.job_list"), "KEPT", 2)
    world.online()
    ended = []
    for _ in range(3):
        job_id = world.send()
        world.client.finish(job_id)
        world.session.tick()
        world.client.deliver(job_id)
        world.session.tick()
        ended.append(job_id)
    world.send()
    assert list(world.session.jobs)[:2] == ended[1:]
    assert not world.session.list.results_folder(ended[0]).exists()
    world.session.forget(ended[1])
    assert ended[1] not in world.session.jobs


def test_memory_is_given_back_on_request(world: World) -> None:
    world.online()
    world.session.release_memory()
    assert world.kinds() == ["notice"]
    assert world.session.notice == "1 of the backend's devices gave their memory back"


def test_times_are_told_in_words() -> None:
    assert job_words.time_left(None) == ""
    assert job_words.time_left(12.2) == "about 12 s left"
    assert job_words.time_left(200.0) == "about 3 min left"
