"""A job's events, told once and in order, and cancelling it."""

from __future__ import annotations

import pytest
from protocol_samples import JOB, JPEG, RUN, SHA
from protocol_scenes import scene
from protocol_server import OTHER_RUN, SETTINGS, Desk, submitted, upload

from vitruvian_protocol import Settings, events
from vitruvian_protocol import messages as m
from vitruvian_protocol.errors import explain


def test_the_life_of_a_job(desk: Desk) -> None:
    job = submitted(desk)
    told = desk.answer(
        desk.event(job, 1, "queued", ""),
        m.Event(job=job, seq=2, run=RUN, kind="started", attempt=1),
        desk.event(job, 3),
        desk.event(job, 4, "warning", "the UVs overlap"),
        m.Done(job=job, seq=5, run=RUN, artifacts=(m.ArtifactInfo("albedo.png", 7, SHA),)),
    )
    assert told == [
        events.Queued(job, 0, "", 1),
        events.Started(job, 1, 2),
        events.Stage(job, "views", 3),
        events.Warned(job, "the UVs overlap", 4),
        events.Done(job, (m.ArtifactInfo("albedo.png", 7, SHA),), 5),
    ]
    assert desk.answer(desk.event(job, 6)) == [], "it has ended"


def test_each_event_is_told_once(desk: Desk) -> None:
    job = submitted(desk)
    told = desk.answer(*(desk.event(job, seq) for seq in (1, 1, 2, 1, 2, 2)))
    assert [event.seq for event in told if isinstance(event, events.Stage)] == [1, 2]


def test_a_gap_is_healed(desk: Desk) -> None:
    job = submitted(desk)
    assert desk.answer(desk.event(job, 1), desk.event(job, 3), desk.event(job, 4)) == [
        events.Stage(job, "views", 1)
    ]
    attach = desk.wire.one(m.Attach)
    assert attach.after_seq == 1
    snapshot = m.Snapshot(re=attach.mid, job=job, state="running", last_seq=4)
    told = desk.answer(snapshot, *(desk.event(job, seq) for seq in (2, 3, 4)))
    assert [event.seq for event in told if isinstance(event, events.Stage)] == [2, 3, 4]


def test_events_of_another_run_are_stale(desk: Desk) -> None:
    job = submitted(desk)
    assert desk.answer(m.Cancelled(job=job, seq=1, run=OTHER_RUN)) == []
    assert desk.answer(m.Cancelled(job=job, seq=1, run=RUN)) == [events.Cancelled(job, 1)]


def test_only_the_latest_progress_and_preview_of_a_poll_is_told(desk: Desk) -> None:
    job = submitted(desk)
    for i in range(100):
        desk.wire.answer(m.Progress(job=job, stage="views", fraction=i / 100))
        desk.wire.answer(m.Preview(job=job, kind="sheet", jpeg=memoryview(JPEG)))
    desk.wire.answer(m.Preview(job=job, kind="texture", jpeg=memoryview(JPEG)))
    told = desk.poll()
    assert [e.fraction for e in told if isinstance(e, events.Progress)] == [0.99]
    assert [e.kind for e in told if isinstance(e, events.Preview)] == ["sheet", "texture"]
    assert len(desk.wire.taken(m.PreviewAck)) == 101


def test_a_preview_that_is_no_small_jpeg_is_not_shown_but_answered(desk: Desk) -> None:
    job = submitted(desk)
    large = JPEG.replace(b"\x00\x10\x00\x20", b"\x02\x01\x00\x20")
    for jpeg in (large, JPEG[:-2], b"\x89PNG\r\n\x1a\n" + bytes(50), b"x"):
        preview = m.Preview(job=job, kind="sheet", jpeg=memoryview(jpeg))
        assert desk.answer(preview) == []
        assert desk.wire.one(m.PreviewAck).re == preview.mid


def test_attaching_after_a_restart_of_blender() -> None:
    desk = Desk()
    desk.client.attach(JOB, after_seq=4)
    desk.greet()
    attach = desk.wire.one(m.Attach)
    assert (attach.job, attach.after_seq) == (JOB, 4)
    snapshot = m.Snapshot(re=attach.mid, job=JOB, state="queued", position=2)
    assert desk.answer(snapshot, desk.event(JOB, 4), desk.event(JOB, 5)) == [
        events.Progress(JOB, "", 0.0, None, 0, 2),
        events.Stage(JOB, "views", 5),
    ]


def test_a_job_that_the_server_does_not_know_is_not_done() -> None:
    desk = Desk()
    desk.client.attach(JOB)
    desk.greet()
    attach = desk.wire.one(m.Attach)
    told = desk.answer(m.Snapshot(re=attach.mid, job=JOB, state="unknown"))
    assert told == [events.Failed(JOB, explain("UNKNOWN_JOB"))]


def test_jobs_are_attached_to_again_from_the_last_event(desk: Desk) -> None:
    job = submitted(desk)
    desk.answer(desk.event(job, 1), desk.event(job, 2))
    desk.lose()
    desk.greet(OTHER_RUN)
    attach = desk.wire.one(m.Attach)
    assert (attach.job, attach.after_seq) == (job, 2)


def test_what_is_not_answered_is_asked_again(desk: Desk) -> None:
    desk.client.attach(JOB)
    desk.client.cancel(JOB)
    first = desk.wire.one(m.Attach), desk.wire.one(m.Cancel)
    assert desk.answer(*(desk.error(request.mid, "RATE") for request in first)) == []
    assert desk.poll(seconds=1.0) == []
    assert not desk.wire.taken(m.Attach)
    assert desk.poll(seconds=5.0) == []
    attach, cancel = desk.wire.one(m.Attach), desk.wire.one(m.Cancel)
    desk.answer(
        m.Snapshot(re=attach.mid, job=JOB, state="running", last_seq=0),
        m.CancelAck(re=cancel.mid, job=JOB, outcome="stopping"),
    )
    desk.poll(seconds=20.0)
    assert not desk.wire.taken(m.Attach)
    assert not desk.wire.taken(m.Cancel)


def test_a_job_that_nothing_is_heard_of_is_asked_about(desk: Desk) -> None:
    job = submitted(desk)
    for _ in range(9):
        desk.answer(m.Progress(job=job, stage="views", fraction=0.5))
        desk.poll(seconds=10.0)
    assert not desk.wire.taken(m.Attach)
    for _ in range(3):
        desk.answer(m.Pong())
        desk.poll(seconds=10.0)
    assert {attach.job for attach in desk.wire.taken(m.Attach)} == {job}


# Cancelling


def test_cancelling_a_running_job(desk: Desk) -> None:
    job = submitted(desk)
    desk.client.cancel(job)
    cancel = desk.wire.one(m.Cancel)
    assert cancel.job == job
    told = desk.answer(
        m.CancelAck(re=cancel.mid, job=job, outcome="stopping"), m.Cancelled(job=job, seq=1, run=RUN)
    )
    assert told == [events.CancelAcked(job, "stopping"), events.Cancelled(job, 1)]


def test_a_job_that_was_not_asked_for_yet_is_cancelled_here(desk: Desk) -> None:
    job = desk.client.submit(scene(), SETTINGS)
    desk.poll()
    offer = desk.wire.one(m.PutBegin)
    desk.answer(m.PutReady(re=offer.mid, offset=0, credit=100))
    assert desk.wire.one(m.PutChunk).data.nbytes == 100
    desk.client.cancel(job)
    assert desk.poll() == [events.Cancelled(job)]
    assert desk.wire.one(m.TransferStop).transfer == offer.mid
    assert not desk.wire.taken(m.Cancel)
    desk.client.submit(scene(), Settings("the next one"))
    assert upload(desk).settings.prompt == "the next one"


def test_cancelled_while_lost_the_server_is_told_when_it_is_back(desk: Desk) -> None:
    job = submitted(desk)
    desk.lose()
    desk.client.cancel(job)
    assert desk.poll() == []
    desk.greet()
    assert desk.wire.one(m.Cancel).job == job
    assert desk.wire.one(m.Attach).job == job
    desk.lose()
    desk.greet()
    cancel = desk.wire.one(m.Cancel)
    desk.answer(m.CancelAck(re=cancel.mid, job=job, outcome="dequeued"))
    desk.lose()
    desk.greet()
    assert not desk.wire.taken(m.Cancel), "answered once is enough"


@pytest.mark.parametrize("order", ["snapshot first", "answer first"])
def test_cancelled_between_asking_and_accepting(desk: Desk, order: str) -> None:
    """The server may or may not have the job: it is asked, and an unknown one counts as cancelled."""
    job = desk.client.submit(scene(), SETTINGS)
    upload(desk)
    desk.lose()
    desk.client.cancel(job)
    desk.greet()
    assert not desk.wire.taken(m.PutBegin)
    snapshot = m.Snapshot(re=desk.wire.one(m.Attach).mid, job=job, state="unknown")
    ack = m.CancelAck(re=desk.wire.one(m.Cancel).mid, job=job, outcome="unknown")
    told = desk.answer(*((snapshot, ack) if order == "snapshot first" else (ack, snapshot)))
    assert sorted(map(repr, told)) == sorted(
        map(repr, [events.CancelAcked(job, "unknown"), events.Cancelled(job)])
    )


def test_cancelling_a_job_of_an_earlier_session(desk: Desk) -> None:
    desk.client.cancel(JOB)
    ack = m.CancelAck(re=desk.wire.one(m.Cancel).mid, job=JOB, outcome="already_terminal")
    assert desk.answer(ack) == [events.CancelAcked(JOB, "already_terminal")]
