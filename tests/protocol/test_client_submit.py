"""Submissions: the scene under credit, then the request; what is refused, repeated, and survives a loss."""

from __future__ import annotations

import dataclasses
import hashlib

import pytest
from protocol_samples import JOB, RUN
from protocol_scenes import body, cameras, scene
from protocol_server import OTHER_RUN, SETTINGS, Desk, accept, upload

from vitruvian_protocol import ProtocolError, Scene, Settings, events, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import pack_scene, spec_sha256
from vitruvian_protocol.errors import explain


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


def test_views_prompts_are_cleaned_too(desk: Desk) -> None:
    ring = cameras()
    pasted = dataclasses.replace(ring, prompts=("from\tthe\nfront", *ring.prompts[1:]))
    desk.client.submit(Scene(body(), pasted), SETTINGS)
    sent = dataclasses.replace(ring, prompts=("from the front", *ring.prompts[1:]))
    assert upload(desk).scene_sha256 == hashlib.sha256(pack_scene(Scene(body(), sent))).hexdigest()


def test_a_job_can_be_packed_long_before_it_is_sent() -> None:
    desk = Desk()
    moved = scene()
    packed = desk.client.pack(moved, SETTINGS)
    moved.mesh.vertices[:] = 0
    assert not desk.wires
    assert desk.client.submit_packed(packed, JOB) == JOB
    desk.greet()
    submit = upload(desk)
    assert (submit.job, submit.settings) == (JOB, SETTINGS)
    assert submit.scene_sha256 == hashlib.sha256(pack_scene(scene())).hexdigest()


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
