"""The client in a storm: connections break, the server restarts, loses, repeats and refuses.

A model of the server keeps jobs and blobs through all of it, as the real one does on its disk. Hypothesis
draws a seed, and the seed the weather; afterwards it clears up and everything must come to its end, once.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from protocol_scenes import scene
from protocol_server import SESSION, Desk, Wire

from vitruvian_protocol import Settings, events, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.errors import explain

JOBS = 3
STORM, CALM = 60, 400
"""Rounds of half a second."""


@dataclass
class Job:
    """What the server's disk has of a job."""

    name: str
    spec: str
    length: int
    data: bytes
    ended: str = ""
    steps: int = 0

    def message(self, seq: int, run: str) -> m.Durable:
        """The durable event of that number, the same each time."""
        base = {"job": self.name, "seq": seq, "run": run}
        if seq < self.steps or not self.ended:
            return m.Event(**base, kind="stage", text=f"step {seq}")
        if self.ended == "cancelled":
            return m.Cancelled(**base)
        sha256 = hashlib.sha256(self.data).hexdigest()
        return m.Done(**base, artifacts=(m.ArtifactInfo("albedo.png", len(self.data), sha256),))

    def end(self, how: str) -> None:
        if not self.ended:
            self.ended = how
            self.steps += 1


@dataclass
class Model:
    """A server without sockets. `blobs` and `jobs` outlive its restarts, the rest does not."""

    weather: random.Random
    run: str = ""
    blobs: dict[str, bytearray] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    wire: Wire | None = None
    told: dict[str, int] = field(default_factory=dict)
    uploads: dict[str, m.PutBegin] = field(default_factory=dict)
    sending: dict[str, tuple[Job, int, int]] = field(default_factory=dict)
    """Transfer -> job, next offset, credit."""

    def restart(self) -> None:
        self.run = m.new_id()
        self.wire = None

    def greet(self, wire: Wire) -> None:
        self.wire = wire
        for memory in (self.told, self.uploads, self.sending):
            memory.clear()

    def answers(self, message: m.Message) -> list[m.Message]:
        match message:
            case m.Ping():
                return [m.Pong(re=message.mid)]
            case m.PutBegin():
                blob = self.blobs.setdefault(message.sha256, bytearray())
                self.uploads[message.mid] = message
                return [m.PutReady(re=message.mid, offset=len(blob), credit=10_000)]
            case m.PutChunk() if message.transfer in self.uploads:
                return self._chunk(message, self.uploads[message.transfer])
            case m.Submit():
                return self._submit(message)
            case m.Attach():
                job = self.jobs.get(message.job)
                if job is None:
                    return [m.Snapshot(re=message.mid, job=message.job, state="unknown")]
                self.told[job.name] = message.after_seq
                return [m.Snapshot(re=message.mid, job=job.name, state="running", last_seq=job.steps)]
            case m.Cancel():
                job = self.jobs.get(message.job)
                outcome = "unknown" if job is None else "already_terminal" if job.ended else "stopping"
                if job is not None:
                    job.end("cancelled")
                return [m.CancelAck(re=message.mid, job=message.job, outcome=outcome)]
            case m.ArtifactGet():
                job = self.jobs[message.job]
                self.sending[message.mid] = job, message.offset, message.credit
                sha256, size = hashlib.sha256(job.data).hexdigest(), len(job.data)
                return [m.ArtifactBegin(re=message.mid, size=size, sha256=sha256, offset=message.offset)]
            case m.Credit() if message.transfer in self.sending:
                job, at, credit = self.sending[message.transfer]
                self.sending[message.transfer] = job, at, credit + message.size
                return []
            case _:
                return []

    def _chunk(self, chunk: m.PutChunk, begin: m.PutBegin) -> list[m.Message]:
        blob = self.blobs[begin.sha256]
        assert chunk.offset == len(blob), "in order, and from where the server asked"
        blob += chunk.data
        if len(blob) < begin.size:
            return [m.Credit(transfer=begin.mid, size=len(chunk.data))]
        assert hashlib.sha256(blob).hexdigest() == begin.sha256
        return [m.PutDone(re=begin.mid, sha256=begin.sha256)]

    def _submit(self, message: m.Submit) -> list[m.Message]:
        known = self.jobs.get(message.job)
        if known is None and self.weather.random() < 0.1:
            error = explain(self.weather.choice(["RATE", "BLOB_MISSING"]))
            if error.code == "BLOB_MISSING":
                self.blobs[message.scene_sha256].clear()
            return [m.Rejected(re=message.mid, job=message.job, error=error)]
        assert len(self.blobs[message.scene_sha256]) == message.scene_size
        if known is None:
            data = self.weather.randbytes(self.weather.choice([0, 1, 70_000, 2_000_000]))
            length = self.weather.randrange(2, 12)
            known = self.jobs[message.job] = Job(message.job, message.spec_sha256, length, data)
        assert known.spec == message.spec_sha256
        self.told.setdefault(known.name, 0)
        accepted = m.Accepted(re=message.mid, job=known.name, state="running", duplicate=known.steps > 0)
        return [accepted]

    def work(self) -> None:
        """Jobs go on, whether anybody listens or not."""
        for job in self.jobs.values():
            if not job.ended and self.weather.random() < 0.4:
                if job.steps + 1 < job.length:
                    job.steps += 1
                else:
                    job.end("done")

    def news(self, storm: bool) -> list[m.Message]:
        """What the client has not been told; in a storm some of it is lost or comes twice."""
        told: list[m.Message] = []
        for name, seq in self.told.items():
            job = self.jobs[name]
            told += [job.message(i, self.run) for i in range(seq + 1, job.steps + 1)]
            self.told[name] = max(seq, job.steps)
        if storm:
            told = [message for message in told for _ in range(self.weather.choice([0, 1, 1, 1, 2]))]
        for transfer, (job, at, credit) in self.sending.items():
            end = min(at + credit, len(job.data))
            for start in range(at, end, limits.CHUNK_BYTES):
                piece = memoryview(job.data)[start : min(start + limits.CHUNK_BYTES, end)]
                told.append(m.ArtifactChunk(re=transfer, offset=start, data=piece))
            self.sending[transfer] = job, end, credit - (end - at)
        return told


class Storm:
    """A client and the model, round by round."""

    def __init__(self, seed: int, folder: Path) -> None:
        self.weather = random.Random(seed)
        self.desk, self.model, self.folder = Desk(), Model(self.weather), folder
        self.model.restart()
        self.history: list[events.Event] = []

    def round(self, storm: bool) -> None:
        self.model.work()
        if storm:
            self.break_something()
        if self.desk.wires and not self.desk.wire.closed:
            self.talk(storm)
        self.told(self.desk.poll(seconds=0.5))

    def break_something(self) -> None:
        match self.weather.randrange(12):
            case 0 if self.desk.wires:
                self.desk.wire.failed = "LOST"
            case 1:
                self.model.restart()
            case 2 if self.desk.wires:
                self.desk.wire.full = not self.desk.wire.full
            case 3 if self.desk.wires:
                self.desk.wire.waiting.append([memoryview(b"VT01"), memoryview(self.weather.randbytes(9))])
            case 4:
                self.desk.client.cancel(self.weather.choice(self.jobs))
            case _:
                pass

    def talk(self, storm: bool) -> None:
        wire = self.desk.wire
        wire.full = wire.full and storm
        for message in wire.taken(m.Message):
            if isinstance(message, m.Hello):
                self.model.greet(wire)
                wire.answer(
                    m.Welcome(re=message.mid, run=self.model.run, session=SESSION, limits={}, about={})
                )
            elif self.model.wire is wire:
                wire.answer(*self.model.answers(message))
            else:
                wire.answer(m.Error(re=message.mid, error=explain("NO_HELLO")))
        if self.model.wire is wire:
            wire.answer(*self.model.news(storm))

    def told(self, told: list[events.Event]) -> None:
        self.history += told
        for event in told:
            if isinstance(event, events.Done):
                self.desk.client.fetch(event.job, "albedo.png", self.folder / f"{event.job}.png")

    def submit(self) -> None:
        self.jobs = [self.desk.client.submit(scene(), Settings(f"person {i}")) for i in range(JOBS)]

    @property
    def over(self) -> bool:
        """Each job has ended, and each file of those that are done is here."""
        ended = {e.job for e in self.history if isinstance(e, events.TERMINAL)}
        done = {e.job for e in self.history if isinstance(e, events.Done)}
        return len(ended) == JOBS and done == {e.job for e in self.history if isinstance(e, events.Fetched)}


def check(storm: Storm) -> None:
    """The promises, read off what the client told."""
    for job in storm.jobs:
        own = [event for event in storm.history if getattr(event, "job", "") == job]
        ends = [event for event in own if isinstance(event, events.TERMINAL)]
        assert len(ends) == 1, own
        seqs = [seq for event in own if (seq := getattr(event, "seq", 0))]
        assert seqs == list(range(1, len(seqs) + 1)), own
        on_disk = storm.model.jobs.get(job)
        if isinstance(ends[0], events.Done):
            assert on_disk is not None
            assert (storm.folder / f"{job}.png").read_bytes() == on_disk.data
        else:
            assert isinstance(ends[0], events.Cancelled), own
            assert on_disk is None or on_disk.ended == "cancelled"
        assert not any(isinstance(event, events.Rejected | events.FetchFailed) for event in own), own


@settings(max_examples=60, deadline=None, database=None)
@given(st.integers(0, 2**32 - 1))
def test_nothing_is_lost_and_nothing_told_twice(seed: int) -> None:
    random.seed(seed)  # the client's jitter
    with tempfile.TemporaryDirectory() as folder:
        storm = Storm(seed, Path(folder))
        storm.submit()
        for _ in range(STORM):
            storm.round(storm=True)
        for _ in range(CALM):
            if storm.over:
                break
            storm.round(storm=False)
        check(storm)
        storm.desk.client.close()
