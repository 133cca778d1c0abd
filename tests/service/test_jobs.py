"""Jobs over the wire: a real gateway, real worker processes, nothing painted but noise."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_worker import CRASH_POINTS
from raw import Raw
from serving import Artist, Served, check_history, served, small_scene

from vitruvian_protocol import events as e
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import pack_scene
from vitruvian_protocol.scene import Settings


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    state = tmp_path_factory.mktemp("service") / "state"
    with served(state, workers=2, config={"cancel_seconds": 0.5}) as running:
        yield running


@pytest.fixture
def artist(gateway: Served) -> Iterator[Artist]:
    with Artist(gateway.address) as one:
        yield one


def test_a_job_comes_back_whole(artist: Artist, gateway: Served, tmp_path: Path) -> None:
    job = artist.submit("size=700000 files=1", seed=3)
    done = artist.end(job)
    check_history(artist, job)
    stages = [type(x).__name__ for x in artist.durable(job)]
    assert stages == ["Queued", "Started", "Stage", "Done"]
    (info,) = done.artifacts
    data = artist.fetch(job, info.name, tmp_path / "noise").read_bytes()
    assert len(data) == info.size == 700_000
    assert hashlib.sha256(data).hexdigest() == info.sha256
    assert [p.name for p in gateway.result_folder(job).iterdir()] == ["1"]


def test_the_same_job_again_changes_nothing_and_another_is_refused(artist: Artist) -> None:
    job = artist.submit("a person")
    artist.end(job)
    again = artist.submit("a person", job=job)
    assert again == job
    assert artist.until(lambda: [x for x in artist.of(job, e.Accepted) if x.duplicate])
    artist.submit("another person", job=job)
    assert artist.first(job, e.Rejected).error.code == "ID_CONFLICT"
    assert len({x.seq for x in artist.of(job, e.Done)}) == 1


def test_workers_may_die_anywhere(artist: Artist) -> None:
    """Killed once at each of twelve points, a job is done by its second attempt; or by its first, where the
    worker had told its result before it died."""
    jobs = {p: artist.submit(f"files=2 crash={p} crashes=1") for p in CRASH_POINTS}
    assert len(jobs) == 12
    for point, job in jobs.items():
        assert isinstance(artist.end(job), e.Done), point
        check_history(artist, job)
        attempts = max(x.attempt for x in artist.of(job, e.Started))
        assert attempts == (1 if point == "after_finished" else 2), point


def test_the_third_death_is_the_end_of_a_job_and_of_nothing_else(artist: Artist, gateway: Served) -> None:
    job = artist.submit("crash=step_2")
    after = artist.submit("the next one")
    failed = artist.end(job)
    assert failed.error.code == "WORKER_LOST"
    assert [x.attempt for x in artist.of(job, e.Started)] == [1, 2, 3]
    check_history(artist, job)
    assert isinstance(artist.end(after), e.Done)
    folder = gateway.result_folder(job)
    assert not folder.exists() or not list(folder.iterdir())


@pytest.mark.parametrize(
    ("prompt", "code"),
    [("broken", "INTERNAL"), ("out of memory", "OUT_OF_VRAM"), ("refuse", "BAD_REQUEST")],
)
def test_a_job_that_fails_takes_nothing_along(artist: Artist, prompt: str, code: str) -> None:
    job, after = artist.submit(prompt), artist.submit("the next one")
    error = artist.end(job).error
    assert error.code == code
    assert error.sentence
    assert "Traceback" not in str(error)
    assert isinstance(artist.end(after), e.Done)


def test_progress_and_previews_arrive(artist: Artist) -> None:
    job = artist.submit("steps=40 seconds=0.05")
    artist.end(job)
    fractions = [x.fraction for x in artist.of(job, e.Progress) if x.stage == "sampling"]
    assert fractions == sorted(fractions)
    assert {x.kind for x in artist.of(job, e.Preview)} == {"sheet", "texture"}


def test_a_new_session_hears_what_was_missed(artist: Artist, gateway: Served) -> None:
    job = artist.submit("a person")
    artist.end(job)
    with Artist(gateway.address) as later:
        later.client.attach(job)
        later.end(job)
        assert later.durable(job) == artist.durable(job)
    with Artist(gateway.address) as later:
        later.client.attach(job, after_seq=2)
        later.end(job)
        assert [x.seq for x in later.durable(job)] == [3, 4]


def test_going_away_cancels_nothing_unless_it_was_asked_for(artist: Artist, gateway: Served) -> None:
    blob = pack_scene(small_scene())
    prompts = {"keep": "stays steps=30 seconds=0.05", "cancel": "goes steps=1000 seconds=0.05"}
    with Raw(gateway.address) as raw:
        accepted = {end: raw.submit(blob, Settings(p), on_disconnect=end) for end, p in prompts.items()}
    jobs = {end: answer.job for end, answer in accepted.items() if isinstance(answer, m.Accepted)}
    for job in jobs.values():
        artist.client.attach(job)
    assert isinstance(artist.end(jobs["keep"]), e.Done)
    assert isinstance(artist.end(jobs["cancel"]), e.Cancelled)


def test_status_and_memory(artist: Artist) -> None:
    job = artist.submit("steps=1000 seconds=0.02")
    artist.first(job, e.Started)
    artist.client.status()
    status = artist.until(lambda: [x for x in artist.heard if isinstance(x, e.Status)])[0]
    assert status.running == 1
    assert [line.job for line in status.jobs] == [job]
    assert len(status.devices) == 2
    artist.client.release_memory()
    released = artist.until(lambda: [x for x in artist.heard if isinstance(x, e.MemoryReleased)])[0]
    assert (released.devices, released.busy) == (1, 1)
    artist.client.cancel(job)
    artist.end(job)
    assert isinstance(artist.end(artist.submit("wakes a device")), e.Done)


def test_a_device_that_rests_gives_its_memory_back(tmp_path: Path) -> None:
    """By the end of its process, and with that of all it held."""
    config = {"idle_release": 0.2}
    with served(tmp_path / "state", config=config) as gateway, Artist(gateway.address) as artist:
        artist.end(artist.submit("a person"))

        def asleep() -> bool:
            artist.client.status()
            told = [event for event in artist.heard if isinstance(event, e.Status)]
            return bool(told) and told[-1].devices[0].state == "asleep" and not gateway.workers()

        artist.until(asleep)
        job = artist.submit("wakes it")
        assert isinstance(artist.end(job), e.Done)
        assert [event.attempt for event in artist.of(job, e.Started)] == [1]


def test_after_a_cuda_error_the_next_job_gets_a_new_process(artist: Artist) -> None:
    jobs = [artist.submit(prompt) for prompt in ("CUDA error", "CUDA error", *("the next one",) * 3)]
    for job in jobs[:2]:
        assert artist.end(job).error.code == "INTERNAL"
    for job in jobs[2:]:
        assert isinstance(artist.end(job), e.Done)
        assert [event.attempt for event in artist.of(job, e.Started)] == [1]


def test_a_scene_that_was_damaged_on_the_disk_can_be_sent_again(tmp_path: Path) -> None:
    with served(tmp_path / "state") as gateway, Artist(gateway.address) as artist:
        first = artist.submit("steps=1000 seconds=0.02")
        artist.first(first, e.Started)
        job = artist.submit("waits", small_scene(0.5))
        artist.first(job, e.Accepted)
        newest = max(gateway.state.glob("blobs/*/*/*"), key=lambda path: path.stat().st_mtime_ns)
        data = bytearray(newest.read_bytes())
        data[-1] ^= 1
        newest.write_bytes(data)
        artist.client.cancel(first)
        assert artist.end(job).error.code == "SCENE_DAMAGED"
        assert isinstance(artist.end(artist.submit("again", small_scene(0.5))), e.Done)
        newest.write_bytes(b"")
        assert isinstance(artist.end(artist.submit("and again", small_scene(0.5))), e.Done)


def test_a_stopped_worker_is_taken_for_dead(tmp_path: Path) -> None:
    config = {"lease_seconds": 3.0}
    with served(tmp_path / "state", config=config) as gateway, Artist(gateway.address) as artist:
        job = artist.submit("steps=30 seconds=0.05")
        artist.first(job, e.Started)
        gateway.signal_workers(signal.SIGSTOP)
        assert isinstance(artist.end(job), e.Done)
        assert artist.of(job, e.Started)[-1].attempt == 2
        check_history(artist, job)


def test_damaged_results_are_never_served(artist: Artist, gateway: Served, tmp_path: Path) -> None:
    job = artist.submit("size=600000 files=1")
    (info,) = artist.end(job).artifacts
    path = gateway.result_folder(job) / "1" / info.name
    data = bytearray(path.read_bytes())
    data[300_000] ^= 1
    path.write_bytes(data)
    artist.client.fetch(job, info.name, tmp_path / "noise")
    assert artist.first(job, e.FetchFailed, e.Fetched).error.code == "UNKNOWN_ARTIFACT"
    assert not (tmp_path / "noise").exists()


def test_a_scene_is_sent_once(artist: Artist, gateway: Served) -> None:
    scene = small_scene(0.25)
    artist.end(artist.submit("first", scene))
    before = len(list(gateway.state.glob("blobs/*/*/*")))
    artist.end(artist.submit("second", scene))
    assert len(list(gateway.state.glob("blobs/*/*/*"))) == before
