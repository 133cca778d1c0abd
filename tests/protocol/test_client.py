"""The client against a server in memory: what it asks, what it tells, and what survives a lost connection."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from protocol_samples import JPEG, RUN, SHA
from protocol_scenes import scene
from protocol_server import OTHER_RUN, Desk, Wire

from vitruvian_protocol import ProtocolError, Settings, events, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.client import Client
from vitruvian_protocol.codec import pack_scene, spec_sha256
from vitruvian_protocol.errors import explain

SETTINGS = Settings("a man in a blue suit")
JOB = "77777777-0000-4000-8000-000000000000"


@pytest.fixture
def desk() -> Desk:
    made = Desk()
    made.greet()
    return made


def upload(desk: Desk) -> m.Submit:
    """Let the first submission through to its request; the server has nothing of its scene."""
    desk.poll()
    offer = desk.wire.one(m.PutBegin)
    desk.answer(m.PutReady(re=offer.mid, offset=0, credit=limits.WINDOW_BYTES))
    data = b"".join(bytes(chunk.data) for chunk in desk.wire.taken(m.PutChunk))
    assert hashlib.sha256(data).hexdigest() == offer.sha256
    desk.answer(m.PutDone(re=offer.mid, sha256=offer.sha256))
    return desk.wire.one(m.Submit)


def accept(desk: Desk, submit: m.Submit, duplicate: bool = False) -> None:
    message = m.Accepted(re=submit.mid, job=submit.job, state="queued", duplicate=duplicate)
    told = desk.answer(message)
    assert events.Accepted(submit.job, 0, duplicate) in told


def submitted(desk: Desk) -> str:
    job = desk.client.submit(scene(), SETTINGS)
    accept(desk, upload(desk))
    return job


# Connection


def test_the_greeting_is_first_and_alone() -> None:
    desk = Desk()
    assert desk.client.state == "connecting"
    job = desk.client.submit(scene(), SETTINGS)
    desk.client.attach(JOB)
    desk.client.status()
    desk.poll()
    assert [type(message) for message in desk.wire.sent] == [m.Hello]
    assert not desk.greet().restarted
    assert desk.client.state == "ready"
    assert desk.client.welcome is not None
    assert desk.wire.one(m.Attach).job == JOB
    assert desk.wire.one(m.PutBegin).sha256 == hashlib.sha256(pack_scene(scene())).hexdigest()
    assert job != JOB


def test_a_server_that_does_not_answer_is_told_once_and_tried_again() -> None:
    desk = Desk()
    assert desk.poll() == []
    lost = desk.only(events.Lost, seconds=5.0)
    assert lost.error.code == "UNREACHABLE"
    assert "tcp://127.0.0.1:1" in lost.error.sentence
    assert desk.client.state == "lost"
    for _ in range(4):
        assert desk.poll(seconds=5.0) == []
    assert len(desk.wires) > 2
    assert all(wire.closed for wire in desk.wires[:-1])
    desk.poll(5.0)
    desk.greet()


@pytest.mark.parametrize(("code", "attempts"), [("AUTH", 1), ("SERVER_KEY", 3), ("NOT_OURS", 3)])
def test_refusals_are_final_once_they_are_sure(code: str, attempts: int) -> None:
    desk = Desk()
    for _ in range(attempts):
        desk.poll(seconds=60.0)
        desk.wire.failed = code
        told = desk.poll()
    assert told == [events.Lost(explain(code, got="tcp://127.0.0.1:1"))]
    assert desk.client.state == "refused"
    desk.poll(seconds=600.0)
    assert len(desk.wires) == attempts
    desk.client.reconnect()
    desk.greet()
    assert desk.client.state == "ready"


def test_a_server_that_greeted_once_is_not_given_up(desk: Desk) -> None:
    for _ in range(5):
        desk.wire.failed = "SERVER_KEY"
        desk.poll()
        assert desk.client.state == "lost"
        desk.poll(seconds=60.0)
    desk.greet()


def test_another_version_is_refused_with_both_numbers() -> None:
    desk = Desk()
    desk.poll()
    desk.wire.waiting.append([memoryview(b"VT07"), memoryview(b"?")])
    lost = desk.only(events.Lost)
    assert lost.error.code == "WIRE_VERSION"
    assert "7" in lost.error.sentence
    assert desk.client.state == "refused"


def test_silence_is_pinged_into_and_then_lost(desk: Desk) -> None:
    for _ in range(limits.PINGS_MISSED):
        assert desk.poll(seconds=2.1) == []
        desk.wire.one(m.Ping)
    assert desk.only(events.Lost, seconds=2.1).error.code == "LOST"
    assert desk.wires[0].closed


def test_any_message_is_a_sign_of_life(desk: Desk) -> None:
    for _ in range(20):
        desk.wire.answer(m.Progress(job=JOB, stage="of another", fraction=0.5))
        assert desk.poll(seconds=1.9) == []
    assert not desk.wire.taken(m.Ping)


def test_a_client_that_slept_for_minutes_asks_before_it_gives_up(desk: Desk) -> None:
    assert desk.poll(seconds=300.0) == []
    ping = desk.wire.one(m.Ping)
    assert desk.answer(m.Pong(re=ping.mid)) == []
    assert desk.client.state == "ready"


def test_a_server_that_forgot_the_session_is_greeted_again_at_once(desk: Desk) -> None:
    desk.answer(desk.error("", "NO_HELLO"))
    assert desk.client.state == "lost"
    assert not desk.greet().restarted
    assert len(desk.wires) == 2


def test_a_restart_of_the_server_is_told(desk: Desk) -> None:
    desk.lose()
    assert desk.greet(OTHER_RUN).restarted


def test_what_is_damaged_costs_the_connection_and_nothing_else(desk: Desk) -> None:
    job = submitted(desk)
    desk.wire.waiting.append([memoryview(b"VT01"), memoryview(b"\xc1")])
    assert desk.only(events.Lost).error.code == "BAD_FRAME"
    desk.poll(60.0)
    desk.greet()
    assert desk.wire.one(m.Attach).job == job


def test_waits_grow_and_a_connection_that_held_starts_them_anew(desk: Desk) -> None:
    desk.poll(seconds=0.0)
    for _ in range(3):
        desk.wire.failed = "LOST"
        desk.poll()
        desk.poll(60.0)
    count = len(desk.wires)
    desk.wire.failed = "LOST"
    desk.poll()
    desk.poll(1.2)
    assert len(desk.wires) == count, "2 s +- 30 % by now"
    desk.poll(60.0)
    desk.greet()
    for _ in range(6):
        desk.answer(m.Pong())
        desk.poll(1.9)
    desk.wire.failed = "LOST"
    desk.poll()
    count = len(desk.wires)
    desk.poll(0.7)
    assert len(desk.wires) == count + 1


def test_what_could_not_be_sent_as_a_greeting_is_refused_at_once() -> None:
    with pytest.raises(ProtocolError, match="about"):
        Client("tcp://127.0.0.1:1", about={"versions": {"addon": "1"}}, connect=Wire)


def test_closing_says_goodbye(desk: Desk) -> None:
    desk.client.close()
    desk.wire.one(m.Bye)
    assert desk.wire.closed
    assert desk.client.poll() == []
    assert len(desk.wires) == 1


# Submitting


def test_a_job_goes_from_scene_to_acceptance(desk: Desk) -> None:
    job = desk.client.submit(scene(), SETTINGS)
    submit = upload(desk)
    assert (submit.job, submit.settings) == (job, SETTINGS)
    assert submit.spec_sha256 == spec_sha256(SETTINGS, submit.scene_sha256)
    told = desk.answer(m.Accepted(re=submit.mid, job=job, state="queued", position=3))
    assert told == [events.Accepted(job, 3, False)]
    assert not desk.wire.taken(m.Attach), "the server tells of it anyway"


def test_a_scene_that_the_server_has_is_not_sent_again(desk: Desk) -> None:
    desk.client.submit(scene(), SETTINGS)
    desk.poll()
    offer = desk.wire.one(m.PutBegin)
    desk.answer(m.PutReady(re=offer.mid, offset=offer.size, credit=limits.WINDOW_BYTES))
    assert not desk.wire.taken(m.PutChunk)
    accept(desk, desk.wire.one(m.Submit))


def test_never_more_bytes_on_their_way_than_granted(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CHUNK_BYTES", 1_000)
    desk.client.submit(scene(), SETTINGS)
    desk.poll()
    offer = desk.wire.one(m.PutBegin)
    told = desk.answer(m.PutReady(re=offer.mid, offset=500, credit=2_500))
    first = desk.wire.taken(m.PutChunk)
    assert [chunk.offset for chunk in first] == [500, 1_500], "crumbs of credit are saved up"
    assert told == [events.Uploading(offer_job(desk), 2_500, offer.size)]
    desk.answer(m.Credit(transfer=offer.mid, size=500))
    assert [chunk.offset for chunk in desk.wire.taken(m.PutChunk)] == [2_500]
    desk.answer(m.Credit(transfer=JOB, size=50_000))
    assert not desk.wire.taken(m.PutChunk), "another transfer's credit"
    desk.answer(m.Credit(transfer=offer.mid, size=offer.size))
    rest = desk.wire.taken(m.PutChunk)
    assert rest[-1].offset + rest[-1].data.nbytes == offer.size


def test_a_window_smaller_than_a_chunk_is_used(desk: Desk) -> None:
    desk.client.submit(scene(), SETTINGS)
    desk.poll()
    offer = desk.wire.one(m.PutBegin)
    desk.answer(m.PutReady(re=offer.mid, offset=0, credit=1_000))
    for at in range(0, offer.size, 1_000):
        chunk = desk.wire.one(m.PutChunk)
        assert (chunk.offset, chunk.data.nbytes) == (at, min(1_000, offer.size - at))
        desk.answer(m.Credit(transfer=offer.mid, size=1_000))


def offer_job(desk: Desk) -> str:
    submission = desk.client._uploads._queue[0]
    return submission.request.job


def test_a_full_socket_is_waited_for(desk: Desk) -> None:
    desk.client.submit(scene(), SETTINGS)
    desk.wire.full = True
    desk.poll()
    assert not desk.wire.sent
    desk.wire.full = False
    desk.poll()
    desk.wire.one(m.PutBegin)


def test_prompts_are_cleaned_before_they_are_sent(desk: Desk) -> None:
    desk.client.submit(scene(), Settings("a  man\r\nin a\u202e suit\x07"))
    assert upload(desk).settings.prompt == "a man in a suit"


def test_nothing_is_sent_of_a_bad_request(desk: Desk) -> None:
    with pytest.raises(ProtocolError, match="steps"):
        desk.client.submit(scene(), Settings("a man", steps=0))
    with pytest.raises(ProtocolError, match="job"):
        desk.client.submit(scene(), SETTINGS, job_id="../../x")
    desk.client.submit(scene(), SETTINGS, job_id=JOB)
    with pytest.raises(ProtocolError, match="already"):
        desk.client.submit(scene(), SETTINGS, job_id=JOB)
    desk.poll()
    desk.wire.one(m.PutBegin)


def test_a_server_with_lower_limits_is_believed() -> None:
    desk = Desk()
    desk.poll()
    small = {"scene_bytes": 100}
    desk.wire.answer(m.Welcome(re=JOB, run=RUN, session=JOB, limits=small, about={}))
    desk.poll()
    with pytest.raises(ProtocolError) as caught:
        desk.client.submit(scene(), SETTINGS)
    assert caught.value.code == "TOO_LARGE"
    assert caught.value.limit == "100"


def test_a_refused_job_is_told_and_the_next_one_goes(desk: Desk) -> None:
    first = desk.client.submit(scene(), SETTINGS)
    second = desk.client.submit(scene(), Settings("another"))
    error = explain("QUEUE_FULL", problem="7 jobs ahead")
    told = desk.answer(m.Rejected(re=upload(desk).mid, job=first, error=error))
    assert told == [events.Rejected(first, error)]
    assert upload(desk).job == second


@pytest.mark.parametrize("stage", ["offered", "uploading", "asked"])
def test_an_error_in_any_stage_refuses_the_job(desk: Desk, stage: str) -> None:
    job = desk.client.submit(scene(), SETTINGS)
    if stage == "asked":
        re = upload(desk).mid
    else:
        desk.poll()
        re = desk.wire.one(m.PutBegin).mid
        if stage == "uploading":
            desk.answer(m.PutReady(re=re, offset=0, credit=10))
    told = desk.answer(desk.error(re, "DISK_FULL_SERVER"))
    assert told[0] == events.Rejected(job, explain("DISK_FULL_SERVER"))


@pytest.mark.parametrize("code", ["BLOB_MISSING", "CORRUPT", "SPEC_HASH"])
def test_a_scene_that_did_not_arrive_is_sent_again_but_not_for_ever(desk: Desk, code: str) -> None:
    job = desk.client.submit(scene(), SETTINGS)
    for _ in range(2):
        assert desk.answer(m.Rejected(re=upload(desk).mid, job=job, error=explain(code))) == []
    told = desk.answer(m.Rejected(re=upload(desk).mid, job=job, error=explain(code)))
    assert told == [events.Rejected(job, explain(code))]


@pytest.mark.parametrize("stage", ["offered", "uploading", "asked"])
def test_a_submission_survives_a_lost_connection(desk: Desk, stage: str) -> None:
    job = desk.client.submit(scene(), SETTINGS)
    desk.poll()
    if stage == "uploading":
        desk.answer(m.PutReady(re=desk.wire.one(m.PutBegin).mid, offset=0, credit=100_000))
    if stage == "asked":
        upload(desk)
    desk.lose()
    desk.greet(OTHER_RUN)
    submit = upload(desk)
    assert submit.job == job
    accept(desk, submit, duplicate=stage == "asked")
    if stage == "asked":
        attach = desk.wire.one(m.Attach)
        assert (attach.job, attach.after_seq) == (job, 0), "events may have been missed"


def test_too_many_at_once_go_out_slower(desk: Desk) -> None:
    job = desk.client.submit(scene(), SETTINGS)
    for _ in range(5):
        assert desk.answer(m.Rejected(re=upload(desk).mid, job=job, error=explain("RATE"))) == []
        assert not desk.wire.taken(m.PutBegin)
        desk.poll(seconds=1.1)
    accept(desk, upload(desk))


def test_a_server_that_sits_on_a_request_is_left(desk: Desk) -> None:
    desk.client.submit(scene(), SETTINGS)
    upload(desk)
    told: list[events.Event] = []
    for _ in range(62):
        desk.wire.answer(m.Pong())
        told += desk.poll(seconds=1.0)
    assert [event.error.code for event in told if isinstance(event, events.Lost)] == ["LOST"]


# Events of a job


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


# Files


DATA = bytes(range(256)) * 8_000
NAME = "albedo.png"


def begin(desk: Desk, data: bytes = DATA, offset: int | None = None) -> m.ArtifactGet:
    """Answer the client's request for a file, with the head of `data` that it may send."""
    desk.poll()
    get = desk.wire.one(m.ArtifactGet)
    start = get.offset if offset is None else offset
    sha256 = hashlib.sha256(data).hexdigest()
    desk.wire.answer(m.ArtifactBegin(re=get.mid, size=len(data), sha256=sha256, offset=start))
    return get


def chunks(get: m.ArtifactGet, data: bytes, start: int, end: int) -> list[m.Message]:
    step = limits.CHUNK_BYTES
    return [
        m.ArtifactChunk(re=get.mid, offset=at, data=memoryview(data[at : min(at + step, end)]))
        for at in range(start, end, step)
    ]


def test_a_file_arrives_under_credit_and_is_put_in_place(desk: Desk, tmp_path: Path) -> None:
    target = tmp_path / "results" / NAME
    desk.client.fetch(JOB, NAME, target)
    get = begin(desk)
    assert (get.job, get.name, get.offset, get.credit) == (JOB, NAME, 0, limits.WINDOW_BYTES)
    half = 4 * limits.CHUNK_BYTES
    told = desk.answer(*chunks(get, DATA, 0, half))
    assert told == [events.FetchProgress(JOB, NAME, half, len(DATA))]
    assert not target.exists()
    credit = desk.wire.one(m.Credit)
    assert (credit.transfer, credit.size) == (get.mid, limits.GRANT_BYTES)
    told = desk.answer(*chunks(get, DATA, half, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, target)]
    assert target.read_bytes() == DATA
    assert desk.wire.one(m.ArtifactAck).sha256 == hashlib.sha256(DATA).hexdigest()
    assert [path.name for path in target.parent.iterdir()] == [NAME]


@pytest.mark.parametrize("share", [0, 1, 50, 99, 100])
def test_a_file_is_continued_where_the_connection_was_cut(desk: Desk, tmp_path: Path, share: int) -> None:
    target = tmp_path / NAME
    desk.client.fetch(JOB, NAME, target)
    sent = len(DATA) * share // 100
    get = begin(desk)
    if share < 100:
        desk.answer(*chunks(get, DATA, 0, sent))
    else:  # everything was written, and the client was killed before the file was in its place
        desk.poll()
        (tmp_path / f"{NAME}.part").write_bytes(DATA)
        desk = Desk()
        desk.client.fetch(JOB, NAME, target)
        desk.greet()
    if share < 100:
        desk.lose()
        desk.greet()
    again = begin(desk)
    assert again.offset == sent
    told = desk.answer(*chunks(again, DATA, sent, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, target)]
    assert target.read_bytes() == DATA


def test_what_an_earlier_session_left_is_hashed_and_continued(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(DATA[:1_000_000])
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    assert get.offset == 1_000_000
    told = desk.answer(*chunks(get, DATA, 1_000_000, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, tmp_path / NAME)]


def test_a_damaged_part_is_noticed_and_fetched_from_the_start(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(b"x" + DATA[1:1_000_000])
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    assert desk.answer(*chunks(get, DATA, 1_000_000, len(DATA)))[:1] != [
        events.Fetched(JOB, NAME, tmp_path / NAME)
    ]
    again = begin(desk)
    assert again.offset == 0
    told = desk.answer(*chunks(again, DATA, 0, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, tmp_path / NAME)]
    assert (tmp_path / NAME).read_bytes() == DATA


def test_damaged_twice_is_told_and_nothing_is_left_in_its_place(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    for _ in range(2):
        get = begin(desk)
        told = desk.answer(*chunks(get, bytes(len(DATA)), 0, len(DATA)))
    assert [type(event) for event in told] == [events.FetchFailed]
    assert told[0] == events.FetchFailed(JOB, NAME, explain("CORRUPT", problem="its checksum is wrong"))
    assert not (tmp_path / NAME).exists()


@pytest.mark.parametrize("offset", [1, len(DATA) - 1])
def test_pieces_that_do_not_fit_are_not_written(desk: Desk, tmp_path: Path, offset: int) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    piece = m.ArtifactChunk(re=get.mid, offset=offset, data=memoryview(b"xy"))
    desk.answer(piece)
    assert (tmp_path / f"{NAME}.part").stat().st_size == 0
    assert desk.wire.one(m.TransferStop).transfer == get.mid
    assert begin(desk).offset == 0


def test_a_server_that_cannot_continue_starts_anew(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(bytes(5_000_000))
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk, offset=0)
    assert get.offset == 5_000_000
    told = desk.answer(*chunks(get, DATA, 0, len(DATA)))
    assert told == [events.Fetched(JOB, NAME, tmp_path / NAME)]
    assert (tmp_path / NAME).read_bytes() == DATA


def test_a_part_that_is_longer_than_the_file_is_begun_anew(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / f"{NAME}.part").write_bytes(bytes(5_000_000))
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    desk.poll()
    assert desk.answer(desk.error(desk.wire.one(m.ArtifactGet).mid, "BAD_FIELD")) == []
    get = begin(desk)
    assert get.offset == 0
    assert events.Fetched(JOB, NAME, tmp_path / NAME) in desk.answer(*chunks(get, DATA, 0, len(DATA)))


def test_an_empty_file(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    begin(desk, b"")
    assert desk.poll() == [events.Fetched(JOB, NAME, tmp_path / NAME)]
    assert (tmp_path / NAME).read_bytes() == b""


def test_files_come_one_after_the_other(desk: Desk, tmp_path: Path) -> None:
    for name in ("a.png", "b.png", "a.png"):
        desk.client.fetch(JOB, name, tmp_path / name)
    for name in ("a.png", "b.png"):
        get = begin(desk)
        assert get.name == name
        assert desk.answer(*chunks(get, DATA, 0, len(DATA)))[0] == events.Fetched(JOB, name, tmp_path / name)
    assert not desk.wire.taken(m.ArtifactGet)


def test_a_file_that_is_gone_does_not_hold_up_the_next(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, "gone.png", tmp_path / "gone.png")
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    desk.poll()
    get = desk.wire.one(m.ArtifactGet)
    told = desk.answer(desk.error(get.mid, "UNKNOWN_ARTIFACT"))
    assert told == [events.FetchFailed(JOB, "gone.png", explain("UNKNOWN_ARTIFACT"))]
    assert begin(desk).name == NAME


def test_a_folder_that_cannot_be_written_is_told(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    desk.client.fetch(JOB, NAME, tmp_path / "file" / NAME)
    told = desk.poll()
    assert isinstance(told[0], events.FetchFailed)
    assert told[0].error.code == "FILE_LOCAL"
    assert str(tmp_path) in told[0].error.sentence


def test_a_link_in_the_way_is_not_followed(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("precious")
    (tmp_path / f"{NAME}.part").symlink_to(tmp_path / "precious")
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    assert [type(event) for event in desk.poll()] == [events.FetchFailed]
    assert (tmp_path / "precious").read_text() == "precious"


def test_a_full_disk_is_told_before_the_first_byte(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1_000})())
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    told = desk.poll()
    assert [e.error.code for e in told if isinstance(e, events.FetchFailed)] == ["DISK_FULL_LOCAL"]
    assert desk.wire.one(m.TransferStop).transfer == get.mid


@pytest.mark.parametrize("name", ["../albedo.png", "/etc/passwd", "a/b", "", "A.png", "x" * 65])
def test_names_that_are_paths_are_not_asked_for(desk: Desk, tmp_path: Path, name: str) -> None:
    with pytest.raises(ProtocolError):
        desk.client.fetch(JOB, name, tmp_path / "x")


def test_fetching_can_be_stopped(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    get = begin(desk)
    desk.answer(*chunks(get, DATA, 0, limits.CHUNK_BYTES))
    desk.client.stop_fetching(JOB)
    assert desk.wire.one(m.TransferStop).transfer == get.mid
    assert desk.answer(*chunks(get, DATA, limits.CHUNK_BYTES, len(DATA))) == []
    assert (tmp_path / f"{NAME}.part").stat().st_size == limits.CHUNK_BYTES


def test_a_file_that_stops_coming_is_asked_for_again(desk: Desk, tmp_path: Path) -> None:
    desk.client.fetch(JOB, NAME, tmp_path / NAME)
    desk.answer(*chunks(begin(desk), DATA, 0, limits.CHUNK_BYTES))
    while len(desk.wires) == 1:
        desk.wire.answer(m.Pong())
        desk.poll(seconds=1.0)
        assert desk.now < 200
    desk.greet()
    assert begin(desk).offset == limits.CHUNK_BYTES


# The server


def test_status_and_memory(desk: Desk) -> None:
    desk.client.status()
    desk.client.release_memory()
    status, release = desk.wire.one(m.Status), desk.wire.one(m.ReleaseMemory)
    device = m.DeviceLine("cpu", "idle")
    told = desk.answer(
        m.StatusReply(re=status.mid, queued=2, running=1, devices=(device,), uptime_s=9.0),
        m.Released(re=release.mid, devices=1, busy=2),
    )
    assert told == [events.Status(2, 1, (), (device,), 9.0), events.MemoryReleased(1, 2)]


def test_what_a_newer_server_says_is_ignored(desk: Desk) -> None:
    frames = [memoryview(b"VT01"), memoryview(b"\x82\xa1t\xa3new\xa3mid\xd9$" + JOB.encode())]
    desk.wire.waiting.append(frames)
    assert desk.poll() == []
    assert desk.client.state == "ready"


def test_a_budget_ends_a_poll(desk: Desk) -> None:
    job = submitted(desk)
    for seq in range(1, 101):
        desk.wire.answer(desk.event(job, seq))
    told = desk.client.poll(budget_s=20e-6)
    assert 0 < len(told) < 100
    assert desk.client.busy
    assert len(told) + len(desk.poll()) == 100
