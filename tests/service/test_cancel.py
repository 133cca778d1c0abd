"""Cancelling in every state that a job can be in: that job and no other, and once it is told, for good.

What a client does before it has asked at all is in tests/protocol/test_client_jobs.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from raw import Raw, request_for
from serving import Artist, Served, check_history, served, small_scene

from vitruvian_protocol import events as e
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import pack_scene
from vitruvian_protocol.messages import new_id
from vitruvian_protocol.scene import Settings


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    state = tmp_path_factory.mktemp("service") / "state"
    with served(state, workers=2, config={"cancel_seconds": 2.0}) as running:
        yield running


@pytest.fixture
def artist(gateway: Served) -> Iterator[Artist]:
    with Artist(gateway.address) as one:
        yield one


def at_work(artist: Artist, job: str) -> None:
    """The server has given it to a worker, which has not begun."""

    def running() -> bool:
        artist.client.status()
        told = [event for event in artist.heard if isinstance(event, e.Status)]
        return bool(told) and told[-1].running == 1

    artist.until(running)
    assert not artist.of(job, e.Started)


def in_stage(name: str) -> Callable[[Artist, str], None]:
    def wait(artist: Artist, job: str) -> None:
        artist.until(lambda: [event for event in artist.of(job, e.Stage) if event.stage == name])

    return wait


STATES: dict[str, tuple[str, Callable[[Artist, str], None]]] = {
    "given to a worker": ("starts=1 steps=100 seconds=0.02", at_work),
    "running": ("steps=1000 seconds=0.02", in_stage("sampling")),
    "making its results last": ("seals=1", in_stage("sealing")),
    "running, and deaf": (
        "stubborn steps=1000 seconds=0.1",
        lambda artist, job: artist.first(job, e.Started),
    ),
}


@pytest.mark.parametrize("state", STATES)
def test_a_job_at_work_is_cancelled(state: str, artist: Artist, gateway: Served) -> None:
    prompt, wait = STATES[state]
    job = artist.submit(prompt)
    wait(artist, job)
    artist.client.cancel(job)
    assert artist.first(job, e.CancelAcked).outcome == "stopping"
    other = artist.submit("another one, at once")
    assert isinstance(artist.end(job), e.Cancelled)
    assert isinstance(artist.end(other), e.Done)
    for one in (job, other):
        check_history(artist, one)
    folder = gateway.result_folder(job)
    assert not folder.exists() or not list(folder.iterdir())


def test_a_job_is_cancelled_before_it_was_accepted(gateway: Served) -> None:
    """The request and its end arrive in one go: the answer to the first is not overtaken by the second's."""
    blob = pack_scene(small_scene(0.75))
    with Raw(gateway.address) as raw:
        request = request_for(blob, Settings("steps=1000 seconds=0.02"), raw.put(blob))
        cancel = m.Cancel(job=request.job)
        raw.send(request)
        raw.send(cancel)
        acked = raw.answer(cancel.mid)
        answers = [x for x in raw.heard if isinstance(x, m.Accepted | m.CancelAck)]
        assert [type(answer) for answer in answers] == [m.Accepted, m.CancelAck]
        assert isinstance(acked, m.CancelAck)
        assert acked.outcome in ("dequeued", "stopping")
        while not isinstance(raw.receive(), m.Cancelled):
            pass
        assert not [x for x in raw.heard if isinstance(x, m.Done | m.Failed)]


def test_a_queued_and_a_running_job_are_cancelled_and_no_other(artist: Artist) -> None:
    running = [artist.submit(f"steps=1000 seconds=0.02 number={n}") for n in range(2)]
    for job in running:
        artist.first(job, e.Started)
    waiting, other = artist.submit("waiting"), artist.submit("other")
    artist.first(waiting, e.Queued)
    artist.client.cancel(waiting)
    assert artist.first(waiting, e.CancelAcked).outcome == "dequeued"
    assert isinstance(artist.end(waiting), e.Cancelled)
    artist.client.cancel(running[0])
    assert artist.first(running[0], e.CancelAcked).outcome == "stopping"
    assert isinstance(artist.end(running[0]), e.Cancelled)
    assert isinstance(artist.end(other), e.Done)
    assert not artist.of(running[1], *e.TERMINAL)
    artist.client.cancel(running[1])
    artist.end(running[1])
    for job in (*running, waiting, other):
        check_history(artist, job)


def test_cancelling_twice_done_and_unknown_jobs(artist: Artist) -> None:
    job = artist.submit("a person")
    artist.end(job)
    for _ in range(2):
        artist.client.cancel(job)
    assert artist.until(lambda: artist.of(job, e.CancelAcked))[0].outcome == "already_terminal"
    assert isinstance(artist.end(job), e.Done)
    unknown = new_id()
    artist.client.cancel(unknown)
    assert artist.first(unknown, e.CancelAcked).outcome == "unknown"


def test_cancelled_twice_it_is_stopped_once(artist: Artist) -> None:
    job = artist.submit("steps=1000 seconds=0.02")
    artist.first(job, e.Started)
    for _ in range(3):
        artist.client.cancel(job)
    artist.end(job)
    artist.until(lambda: len(artist.of(job, e.CancelAcked)) == 3)
    assert {event.outcome for event in artist.of(job, e.CancelAcked)} <= {"stopping", "already_terminal"}
    check_history(artist, job)


def test_a_cancelled_job_stays_so_when_the_gateway_dies(tmp_path: Path) -> None:
    with served(tmp_path / "state", config={"cancel_seconds": 60.0}) as gateway:
        with Artist(gateway.address) as artist:
            job = artist.submit("stubborn steps=1000 seconds=0.1")
            artist.first(job, e.Started)
            artist.client.cancel(job)
            artist.first(job, e.CancelAcked)
            gateway.kill()
        gateway.start()
        with Artist(gateway.address) as later:
            later.client.attach(job)
            assert isinstance(later.end(job), e.Cancelled)
            check_history(later, job)
