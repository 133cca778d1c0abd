"""Gateways that die, connections that break, readers that stop, disks that fill up."""

from __future__ import annotations

import hashlib
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zmq
from serving import HERE, Artist, Served, check_history, free_port, served

from vitruvian.service.delivery import OWN_BYTES
from vitruvian_protocol import events as e
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode, encode
from vitruvian_protocol.limits import BULK_CHUNK_BYTES, CHUNK_BYTES, WINDOW_BYTES

GATEWAY_POINTS = [
    f"{when}_{what}"
    for what in (
        "settle",
        "send.put_done",
        "commit.accept",
        "send.accepted",
        "commit.lease",
        "commit.start",
        "send.event",
        "commit.publish",
        "send.done",
        "send.artifact_chunk",
    )
    for when in ("before", "after")
]
"""In the order in which a job passes them."""


class Proxy:
    """Forwards one port to another, and cuts the connection once after so many bytes from the server."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.cut_after: int | None = None
        self.passed = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def arm(self, cut_after: int) -> None:
        self.passed, self.cut_after = 0, cut_after

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            threading.Thread(target=self._copy, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._copy, args=(server, client, True), daemon=True).start()

    def _copy(self, source: socket.socket, sink: socket.socket, counted: bool) -> None:
        try:
            while data := source.recv(65536):
                if counted and self.cut_after is not None and self.passed + len(data) > self.cut_after:
                    sink.sendall(data[: max(0, self.cut_after - self.passed)])
                    self.cut_after = None
                    break
                self.passed += len(data) if counted else 0
                sink.sendall(data)
        except OSError:
            pass
        for end in (source, sink):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                end.close()


def test_a_gateway_may_die_anywhere(tmp_path: Path) -> None:
    """Killed at any of twenty points around flush, commit and send; started again, it has lost nothing.

    All points side by side: most of the time is spent waiting for connections.
    """
    with ThreadPoolExecutor(5) as pool:
        tries = {point: pool.submit(die_and_go_on, point, tmp_path / point) for point in GATEWAY_POINTS}
    assert {point: t.exception() for point, t in tries.items()} == dict.fromkeys(GATEWAY_POINTS)


def die_and_go_on(point: str, folder: Path) -> None:
    """One gateway's life; raises where a promise was broken."""
    folder.mkdir()
    gateway = Served(folder / "state")
    gateway.start(crash=point)
    first = gateway.process
    assert first is not None
    with Artist(gateway.address) as artist:
        job = artist.submit("files=1 size=600000")
        if point.endswith("artifact_chunk"):
            artist.client.fetch(job, artist.end(job).artifacts[0].name, folder / "early")
        threading.Thread(target=lambda: (gateway.wait(), gateway.start()), daemon=True).start()
        done = artist.end(job)
        assert isinstance(done, e.Done)
        data = artist.fetch(job, done.artifacts[0].name, folder / "noise").read_bytes()
        assert hashlib.sha256(data).hexdigest() == done.artifacts[0].sha256
        with Artist(gateway.address) as later:
            later.client.attach(job)
            later.end(job)
            check_history(later, job)
    assert first.returncode == -signal.SIGKILL
    assert len(list(gateway.result_folder(job).iterdir())) == 1
    assert gateway.stop() == 0


def test_a_cut_connection_goes_on_where_it_was(tmp_path: Path) -> None:
    size = 6_000_000
    with served(tmp_path / "state") as gateway:
        proxy = Proxy(gateway.port)
        with Artist(f"tcp://127.0.0.1:{proxy.port}") as artist:
            job = artist.submit(f"files=5 size={size}")
            infos = artist.end(job).artifacts
            for info, share in zip(infos, (0.0, 0.01, 0.5, 0.99, 1.0), strict=True):
                proxy.arm(int(share * size))
                data = artist.fetch(job, info.name, tmp_path / info.name).read_bytes()
                assert hashlib.sha256(data).hexdigest() == info.sha256, share
                assert proxy.passed <= size + WINDOW_BYTES + 2**20, share
            assert len([x for x in artist.heard if isinstance(x, e.Connected)]) >= 5


def test_a_reader_that_stops_harms_nobody(tmp_path: Path) -> None:
    """It asks for all it can, pretends to have read it, and reads nothing."""
    with served(tmp_path / "state") as gateway, Artist(gateway.address) as artist:
        job = artist.submit("files=1 size=60000000")
        (info,) = artist.end(job).artifacts
        before = resident_bytes(gateway)
        context = zmq.Context()
        silent = context.socket(zmq.DEALER)
        silent.linger, silent.rcvhwm = 0, 1
        silent.connect(gateway.address)
        silent.send_multipart(encode(m.Hello(about={}, caps=(m.BULK,))))
        asked = [m.ArtifactGet(job=job, name=info.name) for _ in range(4)]
        for one in asked:
            silent.send_multipart(encode(one))
        for _ in range(20):
            for one in asked:
                silent.send_multipart(encode(m.Credit(transfer=one.mid, size=WINDOW_BYTES)))
            artist.listen()
        assert isinstance(artist.end(artist.submit("somebody else's")), e.Done)
        assert artist.fetch(job, info.name, tmp_path / "noise").stat().st_size == info.size
        assert resident_bytes(gateway) - before < 2 * OWN_BYTES
        for _ in range(400):
            silent.send_multipart(encode(m.Attach(job=job)))
        assert isinstance(artist.end(artist.submit("and another one")), e.Done)
        assert resident_bytes(gateway) - before < 2 * OWN_BYTES
        silent.close()
        context.term()


def test_what_is_not_ours_is_dropped_without_a_word(tmp_path: Path) -> None:
    with served(tmp_path / "state") as gateway, Artist(gateway.address) as artist:
        for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x02\x00", bytes(range(256)) * 40):
            with socket.create_connection(("127.0.0.1", gateway.port)) as raw:
                raw.sendall(noise)
        context = zmq.Context()
        stranger = context.socket(zmq.DEALER)
        stranger.linger = 0
        stranger.connect(gateway.address)
        stranger.send_multipart([b"VT01", b"\xc1" * 100])
        stranger.send_multipart([b"x"] * 10_000)
        stranger.send_multipart(encode(m.Status()))
        assert stranger.poll(30_000)
        answer = decode(stranger.recv_multipart())
        assert isinstance(answer, m.Error)
        assert answer.error.code == "NO_HELLO"
        stranger.send_multipart(encode(m.Status()))
        assert isinstance(artist.end(artist.submit("the next one")), e.Done)
        assert not stranger.poll(0)
        stranger.close()
        context.term()


def test_two_gateways_on_one_folder(tmp_path: Path) -> None:
    with served(tmp_path / "state"):
        second = Served(tmp_path / "state")
        command = [sys.executable, str(HERE / "fake_gateway.py"), str(second.state), second.address, "{}"]
        found = subprocess.run(command, capture_output=True, text=True, timeout=90)
        assert found.returncode == 2
        assert "in use" in found.stderr


def test_a_full_disk_takes_no_jobs_on(tmp_path: Path) -> None:
    config = {"min_free": 2**60}
    with served(tmp_path / "state", config=config) as gateway, Artist(gateway.address) as artist:
        job = artist.submit("a person")
        assert artist.first(job, e.Rejected).error.code == "DISK_FULL_SERVER"


def test_a_disk_that_fills_up_keeps_the_job(tmp_path: Path) -> None:
    with served(tmp_path / "state") as gateway, Artist(gateway.address) as artist:
        job = artist.submit("disk")
        artist.until(lambda: len(artist.of(job, e.Queued)) >= 2)
        assert not artist.of(job, *e.TERMINAL)
        artist.client.cancel(job)
        assert isinstance(artist.end(job), e.Cancelled)


def test_limits_of_the_queue(tmp_path: Path) -> None:
    config = {"queued": 2}
    with served(tmp_path / "state", workers=1, config=config) as gateway, Artist(gateway.address) as artist:
        first = artist.submit("steps=1000 seconds=0.02")
        artist.first(first, e.Started)
        waiting = [artist.submit(f"waiting {n}") for n in range(2)]
        for job in waiting:
            artist.first(job, e.Accepted)
        refused = artist.submit("one too many")
        assert artist.first(refused, e.Rejected).error.code == "QUEUE_FULL"
        unknown = artist.submit("a person", prior="none-such")
        assert artist.first(unknown, e.Rejected).error.code == "BAD_SETTINGS"
        artist.client.cancel(first)
        for job in waiting:
            assert isinstance(artist.end(job), e.Done)


def test_the_gateway_is_small_and_knows_no_torch(tmp_path: Path) -> None:
    gateway = Served(tmp_path / "state", workers=0)
    assert gateway.start()["torch"] is False
    assert resident_bytes(gateway) < 150 * 2**20
    assert gateway.stop() == 0


def test_an_address_that_is_taken(tmp_path: Path) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):
        command = [
            sys.executable,
            str(HERE / "fake_gateway.py"),
            str(tmp_path),
            f"tcp://127.0.0.1:{port}",
            "{}",
        ]
        found = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert found.returncode == 2
    assert "address" in found.stderr


def resident_bytes(gateway: Served) -> int:
    assert gateway.process is not None
    status = Path(f"/proc/{gateway.process.pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmRSS"))


@pytest.mark.parametrize(("caps", "most"), [((), CHUNK_BYTES), ((m.BULK,), BULK_CHUNK_BYTES)])
def test_pieces_are_as_large_as_a_client_takes_them(tmp_path: Path, caps: tuple[str, ...], most: int) -> None:
    with served(tmp_path / "state") as gateway, Artist(gateway.address) as artist:
        job = artist.submit("files=1 size=3000000")
        (info,) = artist.end(job).artifacts
        context = zmq.Context()
        reader = context.socket(zmq.DEALER)
        reader.linger, reader.rcvtimeo = 0, 30_000
        reader.connect(gateway.address)
        reader.send_multipart(encode(m.Hello(about={}, caps=caps)))
        reader.send_multipart(encode(m.ArtifactGet(job=job, name=info.name)))
        data, sizes = b"", []
        while len(data) < info.size:
            frames = reader.recv_multipart()
            message = decode(frames)
            if isinstance(message, m.ArtifactChunk):
                assert (b"crc32" in frames[1]) == (not caps)
                sizes.append(len(message.data))
                data += message.data
        assert max(sizes) == most
        assert hashlib.sha256(data).hexdigest() == info.sha256
        reader.close()
        context.term()
