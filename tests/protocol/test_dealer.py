"""The client over real sockets on this computer: plain, with CURVE, and against what is no server of ours."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zmq
from protocol_samples import JOB, RUN
from protocol_scenes import scene
from zmq.auth.thread import ThreadAuthenticator

from vitruvian_protocol import ProtocolError, Settings, events, limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.client import Client, ClientKeys, make_keypair
from vitruvian_protocol.codec import decode, encode, unpack_scene

SERVER, ARTIST, STRANGER = make_keypair(), make_keypair(), make_keypair()
FILE = os.urandom(3_000_000)
PATIENCE = 400
"""Rounds of waiting, 50 ms each at the most, before a test gives up."""


@dataclass
class Server:
    """Takes one scene, accepts one job, serves one file: under credit, in a thread of its own."""

    socket: zmq.Socket[bytes]
    port: int = 0
    scene: bytearray = field(default_factory=bytearray)
    transfer: str = ""
    offset: int = 0
    hold: int = len(FILE)
    """The file is sent up to here and no further."""
    stop: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.stop.is_set():
            if self.socket.poll(20):
                peer, *frames = self.socket.recv_multipart()
                for answer in self.answers(decode(frames)):
                    self.socket.send_multipart([peer, *encode(answer)])
        self.socket.close(linger=0)

    def answers(self, message: m.Message) -> list[m.Message]:
        match message:
            case m.Hello():
                return [m.Welcome(re=message.mid, run=RUN, session=JOB, limits={}, about={})]
            case m.Ping():
                return [m.Pong(re=message.mid)]
            case m.PutBegin():
                return [m.PutReady(re=message.mid, offset=0, credit=limits.WINDOW_BYTES)]
            case m.PutChunk():
                self.scene += message.data
                return [m.PutDone(re=message.transfer, sha256=hashlib.sha256(self.scene).hexdigest())]
            case m.Submit():
                assert message.scene_size == len(self.scene)
                return [m.Accepted(re=message.mid, job=message.job, state="queued")]
            case m.ArtifactGet():
                self.transfer, self.offset = message.mid, message.offset
                sha256 = hashlib.sha256(FILE).hexdigest()
                begin = m.ArtifactBegin(re=message.mid, size=len(FILE), sha256=sha256, offset=message.offset)
                return [begin, *self.chunks(limits.GRANT_BYTES)]
            case m.Credit() if message.transfer == self.transfer:
                return self.chunks(message.size)
            case _:
                return []

    def chunks(self, credit: int) -> list[m.Message]:
        end = min(self.offset + credit, self.hold)
        starts = range(self.offset, end, limits.CHUNK_BYTES)
        self.offset = end
        return [
            m.ArtifactChunk(
                re=self.transfer, offset=at, data=memoryview(FILE)[at : min(at + limits.CHUNK_BYTES, end)]
            )
            for at in starts
        ]


@pytest.fixture
def context() -> Iterator[zmq.Context[zmq.Socket[bytes]]]:
    made: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    yield made
    made.destroy(linger=0)


@pytest.fixture(params=["plain", "curve"])
def served(
    request: pytest.FixtureRequest, context: zmq.Context[zmq.Socket[bytes]]
) -> Iterator[tuple[Server, Client]]:
    router = context.socket(zmq.ROUTER)
    authenticator = None
    keys = None
    if request.param == "curve":
        authenticator = allow(context, router)
        keys = ClientKeys(*ARTIST, SERVER[0])
    server = Server(router, router.bind_to_random_port("tcp://127.0.0.1"))
    thread = threading.Thread(target=server.run)
    thread.start()
    client = Client(f"tcp://127.0.0.1:{server.port}", keys=keys, about={"addon": "test"})
    yield server, client
    client.close()
    server.stop.set()
    thread.join()
    if authenticator is not None:
        authenticator.stop()


def allow(context: zmq.Context[zmq.Socket[bytes]], router: zmq.Socket[bytes]) -> ThreadAuthenticator:
    """CURVE on `router`, with the artist on its list and nobody else."""

    class Listed:
        def callback(self, domain: str, key: bytes) -> bool:
            return key == ARTIST[0].encode()

    authenticator = ThreadAuthenticator(context)
    authenticator.start()
    authenticator.configure_curve_callback("test", Listed())
    router.curve_server = True
    router.curve_publickey, router.curve_secretkey = (key.encode() for key in SERVER)
    router.zap_domain = b"test"
    router.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
    return authenticator


def until(client: Client, *kinds: type) -> list[events.Event]:
    """Poll until one of these events came; all that was told on the way."""
    told: list[events.Event] = []
    for _ in range(PATIENCE):
        told += client.poll(0.05)
        if any(isinstance(event, kinds) for event in told):
            return told
        client.wait(0.05)
    raise AssertionError(f"none of {kinds} in {told}")


def test_a_scene_goes_out_and_a_file_comes_in(served: tuple[Server, Client], tmp_path: Path) -> None:
    server, client = served
    job = client.submit(scene(), Settings("a man"))
    client.fetch(job, "albedo.png", tmp_path / "albedo.png")
    told = until(client, events.Fetched)
    steps = [e for e in told if not isinstance(e, events.FetchProgress | events.Uploading)]
    assert [type(event) for event in steps] == [events.Connected, events.Accepted, events.Fetched]
    assert (tmp_path / "albedo.png").read_bytes() == FILE
    assert unpack_scene(server.scene).mesh.name == scene().mesh.name


def test_a_client_killed_in_the_middle_goes_on_where_it_was(
    served: tuple[Server, Client], tmp_path: Path
) -> None:
    server, client = served
    server.hold = 1_000_000
    client.fetch(JOB, "albedo.png", tmp_path / "albedo.png")
    received = 0
    while received < server.hold:
        told = until(client, events.FetchProgress)
        received = max(event.received for event in told if isinstance(event, events.FetchProgress))
    client.close()
    assert (tmp_path / "albedo.png.part").stat().st_size == server.hold
    server.hold = len(FILE)
    keys = ClientKeys(*ARTIST, SERVER[0]) if server.socket.getsockopt(zmq.MECHANISM) else None
    again = Client(f"tcp://127.0.0.1:{server.port}", keys=keys, about={})
    again.fetch(JOB, "albedo.png", tmp_path / "albedo.png")
    until(again, events.Fetched)
    again.close()
    assert (tmp_path / "albedo.png").read_bytes() == FILE


@pytest.mark.parametrize(
    ("keys", "code"),
    [
        (ClientKeys(*STRANGER, SERVER[0]), {"AUTH"}),
        (ClientKeys(*ARTIST, STRANGER[0]), {"SERVER_KEY"}),
        (None, {"NOT_OURS"}),
    ],
    ids=["stranger", "another server's key", "no keys"],
)
def test_who_is_not_let_in_is_told_why(
    context: zmq.Context[zmq.Socket[bytes]], keys: ClientKeys | None, code: set[str]
) -> None:
    router = context.socket(zmq.ROUTER)
    authenticator = allow(context, router)
    port = router.bind_to_random_port("tcp://127.0.0.1")
    client = Client(f"tcp://127.0.0.1:{port}", keys=keys, about={})
    told: list[events.Event] = []
    while client.state != "refused":
        told += until(client, events.Lost) if not told else client.poll(0.05)
        client.wait(0.05)
        assert len(told) < 10
    client.close()
    assert not router.poll(0), "nothing of a stranger arrives"
    authenticator.stop()
    assert {event.error.code for event in told if isinstance(event, events.Lost)} == code


def test_no_server_and_no_address() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    for address in (f"tcp://127.0.0.1:{port}", "nonsense", "tcp://host.invalid:1"):
        client = Client(address, about={})
        lost = next(event for event in until(client, events.Lost) if isinstance(event, events.Lost))
        assert lost.error.code == "UNREACHABLE"
        assert address in lost.error.sentence
        assert client.state == "lost"
        client.close()


def test_an_address_of_the_newer_internet(context: zmq.Context[zmq.Socket[bytes]]) -> None:
    router = context.socket(zmq.ROUTER)
    router.ipv6 = True
    try:
        port = router.bind_to_random_port("tcp://[::1]")
    except zmq.ZMQError:
        pytest.skip("this computer has no IPv6")
    client = Client(f"tcp://[::1]:{port}", about={})
    for _ in range(PATIENCE):
        assert client.poll(0.05) == []
        if router.poll(0):
            break
        client.wait(0.05)
    _, *frames = router.recv_multipart()
    assert isinstance(decode(frames), m.Hello)
    client.close()


def test_another_kind_of_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as web:

        def serve() -> None:
            for _ in range(3):
                connection, _ = web.accept()
                connection.recv(64)
                connection.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n" + b" " * 100)

        threading.Thread(target=serve, daemon=True).start()
        client = Client(f"tcp://127.0.0.1:{web.getsockname()[1]}", about={})
        told = until(client, events.Lost)
        client.close()
    assert isinstance(told[0], events.Lost)
    assert told[0].error.code == "NOT_OURS"


@pytest.mark.parametrize("field", ["public", "secret", "server"])
@pytest.mark.parametrize("value", ["", "x" * 39, "x" * 41, "ü" * 40, '"' * 40, " " * 40])
def test_keys_that_are_none(field: str, value: str) -> None:
    whole = {"public": ARTIST[0], "secret": ARTIST[1], "server": SERVER[0]}
    with pytest.raises(ProtocolError) as caught:
        ClientKeys(**{**whole, field: value})
    assert (caught.value.code, caught.value.path) == ("BAD_KEY", f"$.keys.{field}")
    assert ARTIST[1] not in str(caught.value)


def test_nothing_happens_outside_of_the_callers_calls() -> None:
    """No thread of Python's: in Blender one would be a crash to come."""
    before = threading.enumerate()
    client = Client("tcp://127.0.0.1:1", about={})
    until(client, events.Lost)
    assert threading.enumerate() == before
    client.close()


OUT_OF_FILES = """
import os, resource, sys
from vitruvian_protocol.client import Client

resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
client, held = Client("tcp://127.0.0.1:1", about={}), []
try:
    while True:
        held.append(os.open(os.devnull, os.O_RDONLY))
except OSError:
    pass
for _ in range(int(sys.argv[1])):
    os.close(held.pop())
codes = []
while codes != ["NO_SOCKET", "UNREACHABLE"]:
    for event in client.poll():
        codes.append(event.error.code)
        print(event.error.code, event.error.sentence, event.error.remedy, client.state, sep="|", flush=True)
        while held:
            os.close(held.pop())
    client.wait(0.05)
client.close()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files have no such limit there")
@pytest.mark.parametrize("left", [0, 2, 5, 12])
def test_out_of_open_files_is_told_and_tried_again(left: int) -> None:
    """With two left libzmq would end the process, with five raise an error of its own."""
    command = [sys.executable, "-c", OUT_OF_FILES, str(left)]
    found = subprocess.run(command, capture_output=True, text=True, timeout=90)
    assert found.returncode == 0, found.stderr
    told = [line.split("|") for line in found.stdout.splitlines()]
    assert [line[0] for line in told] == ["NO_SOCKET", "UNREACHABLE"]
    assert "open files" in told[0][1]
    assert "ulimit" in told[0][2]
    assert told[0][3] == "lost"
