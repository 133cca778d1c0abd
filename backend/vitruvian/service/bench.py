"""How fast and how small the wire is: figures for `vitruvian bench wire`.

Gateway and workers are processes of their own, as in earnest; the clients run in this one.
"""

from __future__ import annotations

import hashlib
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from vitruvian.core.errors import UserError
from vitruvian.service.allocation import keep_freed_blocks
from vitruvian.service.config import ServeConfig
from vitruvian.service.curve import ALLOWED_FILE, SERVER_FILE, AllowList, make_key_file
from vitruvian.service.devices import local_workers
from vitruvian.service.process import COMMAND, settings_line
from vitruvian_protocol import events as e
from vitruvian_protocol.client import Client, ClientKeys, make_keypair
from vitruvian_protocol.scene import MeshArrays, Scene, Settings

CLIENTS, JOBS_EACH, JOB_SECONDS, WORKERS = 20, 10, 0.2, 2
_GIVE_UP_SECONDS = 900.0
MB = 1e6


@dataclass(frozen=True)
class Figure:
    """One line of the table."""

    what: str
    value: float
    target: str
    met: bool | None
    """None where the line is there to be read only."""
    unit: str = ""


def bench_transfers(megabytes: int = 128, files: int = 3) -> list[Figure]:
    """Results over loopback into a temporary folder, hashed on both sides, in the clear and encrypted.

    This process fetches as `vitruvian submit` does.
    """
    keep_freed_blocks()
    data = bytes(megabytes * 1_000_000)
    begin = time.perf_counter()
    hashlib.sha256(data).digest()
    alone = len(data) / (time.perf_counter() - begin) / MB
    figures = [Figure("SHA-256 alone, one core", alone, "", None, "MB/s")]
    for name, encrypted, target in (("in the clear", False, 600.0), ("CURVE", True, 300.0)):
        rate, memory = _transfer_rate(megabytes, files, encrypted)
        figures.append(Figure(f"results, {name}", rate, f">= {target:g}", rate >= target, "MB/s"))
        if memory is not None:
            figures.append(Figure(f"server memory, {name}", memory, "<= 8", memory <= 8.0, "MiB"))
    return figures


def bench_queue() -> list[Figure]:
    """20 clients with 10 jobs each: all done once, and how long `accepted` takes.

    A client asks for its next job once the last one was accepted.
    """
    with _service(workers=WORKERS) as service:
        clients = [_Customer(service.client(), JOBS_EACH) for _ in range(CLIENTS)]
        deadline = time.monotonic() + _GIVE_UP_SECONDS
        while not all(c.finished for c in clients) and time.monotonic() < deadline:
            for customer in clients:
                customer.turn()
            time.sleep(0.0005)
        memory = service.peak_memory()
        for customer in clients:
            customer.client.close()
    once = sum(len(ends) == 1 and isinstance(ends[0], e.Done) for c in clients for ends in c.ends.values())
    waits = sorted(wait for c in clients for wait in c.waits)
    slowest = 1000.0 * waits[int(0.99 * (len(waits) - 1))]
    wanted = CLIENTS * JOBS_EACH
    figures = [
        Figure(f"jobs done once, of {wanted}", once, f"{wanted}", once == wanted),
        Figure("accepted after, median", 1000.0 * statistics.median(waits), "", None, "ms"),
        Figure("accepted after, 99th percentile", slowest, "<= 100", slowest <= 100.0, "ms"),
    ]
    if memory is not None:
        figures.append(Figure("gateway's memory, peak", memory, "<= 250", memory <= 250.0, "MB"))
    return figures


def bench_overhead(prompt: str, steps: int = 20) -> list[Figure]:
    """The same job in this process and through a service, each with its model loaded."""
    from vitruvian.diffusion.loading import load_prior
    from vitruvian.export.folder import save_avatar
    from vitruvian.generation import choose_body, choose_device, choose_rig, paint
    from vitruvian.job import GenerateJob
    from vitruvian.service.convert import scene_of

    job = GenerateJob(prompt, steps=steps)
    prior = load_prior(job.prior, choose_device("auto"))
    with _service(real=True) as service, tempfile.TemporaryDirectory() as out:
        client = service.client()
        until_idle(client)
        shown: list[float] = []

        def report(stage: str, step: int, total: int, preview: object = None) -> None:
            if preview is not None and not shown:
                shown.append(time.perf_counter() - begin)

        begin = time.perf_counter()
        body = choose_body(job)
        save_avatar(paint(job, body, choose_rig(job, body.mesh), prior, report), Path(out) / "here")
        alone = time.perf_counter() - begin
        del prior
        begin = time.perf_counter()
        body = choose_body(job)
        scene = scene_of(body, choose_rig(job, body.mesh))
        order = client.submit(scene, Settings(prompt, steps=steps))
        previews: list[float] = []
        done = _until_done(client, order, lambda: previews.append(time.perf_counter() - begin))
        _fetch_all(client, order, done, Path(out))
        served = time.perf_counter() - begin
        client.close()
    late = previews[0] - shown[0] if previews and shown else float("nan")
    overhead = 100.0 * (served / alone - 1.0)
    return [
        Figure("the job in one process", alone, "", None, "s"),
        Figure("the same job, submitted", served, "", None, "s"),
        Figure("overhead of the service", overhead, "<= 5", overhead <= 5.0, "%"),
        Figure("first preview later by", late, "<= 3", late <= 3.0, "s"),
    ]


# ---- a service to measure


@dataclass
class _Service:
    process: subprocess.Popen[bytes]
    address: str
    keys: ClientKeys | None

    def client(self) -> Client:
        return Client(self.address, keys=self.keys, about={"program": "bench"})

    def peak_memory(self) -> float | None:
        """The most memory the gateway has held, MB; None where the system does not tell."""
        status = Path(f"/proc/{self.process.pid}/status")
        if not status.is_file():
            return None
        lines = (line.split() for line in status.read_text().splitlines())
        return next(int(parts[1]) * 1024 / MB for parts in lines if parts[0] == "VmHWM:")


@contextmanager
def _service(workers: int = 1, encrypted: bool = False, real: bool = False) -> Iterator[_Service]:
    """A gateway in a process of its own, in a folder that is gone afterwards.

    Args:
        real: one worker that paints, in place of `workers` that do not.
    """
    with tempfile.TemporaryDirectory(prefix="vitruvian-bench-") as name:
        folder, keys = Path(name), None
        if encrypted:
            public, secret = make_keypair()
            keys = ClientKeys(public, secret, make_key_file(folder / SERVER_FILE))
            AllowList(folder / ALLOWED_FILE).allow(public, "bench")
        with socket.create_server(("127.0.0.1", 0)) as probe:
            address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
        config = ServeConfig(folder / "state", address, folder if encrypted else None, min_free=0)
        idle = [sys.executable, "-m", "vitruvian.service.bench_worker"]
        lines = {f"none{n}": idle for n in range(workers)}
        if real:
            lines = local_workers(["auto"], dict(config.priors))
        process = subprocess.Popen(COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(settings_line(config, lines))
            if not process.stdout.readline():
                raise UserError("bench", address, "no gateway came up", "See the message above")
            yield _Service(process, address, keys)
        finally:
            process.stdin.close()
            process.wait()


# ---- clients


@dataclass
class _Customer:
    """Submits one job after the other and notes what becomes of them."""

    client: Client
    wanted: int
    asked_at: dict[str, float] = field(default_factory=dict)
    waits: list[float] = field(default_factory=list)
    ends: dict[str, list[e.Event]] = field(default_factory=dict)

    @property
    def finished(self) -> bool:
        return len(self.ends) == self.wanted and all(self.ends.values())

    def turn(self) -> None:
        if self.client.state == "ready" and len(self.waits) == len(self.ends) < self.wanted:
            prompt = f"seconds={JOB_SECONDS} size=1000000 files=1"
            job = self.client.submit(_small_scene(), Settings(prompt, seed=len(self.ends)))
            self.asked_at[job], self.ends[job] = time.perf_counter(), []
        for event in self.client.poll(0.0):
            if isinstance(event, e.Accepted):
                self.waits.append(time.perf_counter() - self.asked_at[event.job])
            elif isinstance(event, e.TERMINAL):
                self.ends[event.job].append(event)


def _transfer_rate(megabytes: int, files: int, encrypted: bool) -> tuple[float, float | None]:
    """MB/s, and by how many MiB the gateway grew."""
    with _service(encrypted=encrypted) as service, tempfile.TemporaryDirectory() as out:
        client = service.client()
        prompt = f"seconds=0 size={megabytes * 1_000_000} files={files}"
        job = client.submit(_small_scene(), Settings(prompt))
        done = _until_done(client, job)
        before = service.peak_memory()
        begin = time.perf_counter()
        _fetch_all(client, job, done, Path(out))
        seconds = time.perf_counter() - begin
        after = service.peak_memory()
        client.close()
    grown = None if before is None or after is None else (after - before) * MB / 2**20
    return files * megabytes / seconds, grown


def _until_done(client: Client, job: str, on_preview: Callable[[], None] = lambda: None) -> e.Done:
    for event in _events(client):
        if isinstance(event, e.Preview):
            on_preview()
        if isinstance(event, e.Done) and event.job == job:
            return event
        if isinstance(event, e.Failed | e.Rejected):
            raise UserError("bench", job, event.error.sentence, event.error.remedy)
    raise AssertionError("events end only by an exception")


def _fetch_all(client: Client, job: str, done: e.Done, folder: Path) -> None:
    missing = {info.name for info in done.artifacts}
    for name in missing.copy():
        client.fetch(job, name, folder / name)
    for event in _events(client):
        if isinstance(event, e.FetchFailed):
            raise UserError("bench", event.name, event.error.sentence, event.error.remedy)
        if isinstance(event, e.Fetched):
            missing.discard(event.name)
            if not missing:
                return


def until_idle(client: Client) -> None:
    """The worker has its model."""
    client.status()
    for event in _events(client):
        if isinstance(event, e.Connected):
            client.status()
        if isinstance(event, e.Status):
            if all(device.state == "idle" for device in event.devices):
                return
            time.sleep(0.2)
            client.status()


def _events(client: Client) -> Iterator[e.Event]:
    deadline = time.monotonic() + _GIVE_UP_SECONDS
    while time.monotonic() < deadline:
        yield from client.poll()
        client.wait(0.02)
    raise UserError("bench", "wire", "nothing happened for too long", "Try again on an idle machine")


def _small_scene() -> Scene:
    vertices = np.array([[0, 0, 0], [1, 0, 0], [0, 0, 1], [0.3, 1, 0.3]], np.float32)
    faces = np.array([[0, 1, 2], [0, 3, 1], [1, 3, 2], [0, 2, 3]], np.int32)
    return Scene(MeshArrays("tetrahedron", vertices, faces))
