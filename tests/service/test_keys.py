"""Who gets in: keys, the list, and what one user may know of another's jobs."""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import zmq
from raw import Raw, request_for
from serving import Artist, Served, free_port, served, small_scene

from vitruvian.cli import run
from vitruvian.core.errors import UserError
from vitruvian.service import gateway as gateway_module
from vitruvian.service.config import ServeConfig, is_loopback
from vitruvian.service.curve import (
    AllowList,
    Gatekeeper,
    check_exposure,
    make_key_file,
    read_key_file,
    secure,
    self_test,
)
from vitruvian.service.executor import LocalExecutor
from vitruvian_protocol import events as e
from vitruvian_protocol import messages as m
from vitruvian_protocol.client import ClientKeys, make_keypair
from vitruvian_protocol.codec import encode, pack_scene
from vitruvian_protocol.limits import CHUNK_BYTES
from vitruvian_protocol.scene import Scene, Settings


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("keys")
    make_key_file(path / "server.json")
    return path


@pytest.fixture(scope="module")
def gateway(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    state = tmp_path_factory.mktemp("service") / "state"
    with served(state, config={"keys": str(folder)}) as running:
        yield running


def new_client(folder: Path, name: str | None) -> ClientKeys:
    """Keys that the server lets in, or a stranger's."""
    public, secret = make_keypair()
    if name is not None:
        AllowList(folder / "allowed.txt").allow(public, name)
    return ClientKeys(public, secret, read_key_file(folder / "server.json")["public"])


def test_a_client_on_the_list_gets_its_results(gateway: Served, folder: Path, tmp_path: Path) -> None:
    with Artist(gateway.address, new_client(folder, "ada")) as artist:
        job = artist.submit("files=1 size=500000")
        (info,) = artist.end(job).artifacts
        assert artist.fetch(job, info.name, tmp_path / "noise").stat().st_size == info.size


def test_a_large_scene_goes_through_encrypted(gateway: Served, folder: Path) -> None:
    """Encryption makes a full chunk a little larger: no limit on frames may be in its way."""
    mesh = small_scene().mesh
    large = Scene(replace(mesh, faces=np.tile(mesh.faces, (20_000, 1))))
    assert len(pack_scene(large)) > 3 * CHUNK_BYTES
    with Artist(gateway.address, new_client(folder, "gina")) as artist:
        assert isinstance(artist.end(artist.submit("a person", large)), e.Done)


def test_60_another_users_scene_is_not_there(gateway: Served, folder: Path) -> None:
    blob = pack_scene(small_scene(0.5))
    with (
        Raw(gateway.address, keys=new_client(folder, "hugo")) as owner,
        Raw(gateway.address, keys=new_client(folder, "ines")) as other,
    ):
        sha = owner.put(blob)
        answer = other.ask(request_for(blob, Settings("a person"), sha))
        assert isinstance(answer, m.Rejected)
        assert answer.error.code == "BLOB_MISSING"
        offer = m.PutBegin(sha256=sha, size=len(blob))
        ready = other.ask(offer)
        assert isinstance(ready, m.PutReady)
        assert ready.offset == 0
        again = owner.ask(replace(offer, mid=m.new_id()))
        assert isinstance(again, m.PutReady)
        assert again.offset == len(blob)


def test_a_strangers_key_is_refused(gateway: Served, folder: Path) -> None:
    with Artist(gateway.address, new_client(folder, None)) as stranger:
        stranger.until(lambda: stranger.client.state == "refused")
        lost = [x for x in stranger.heard if isinstance(x, e.Lost)]
        assert lost[-1].error.code == "AUTH"


def test_without_keys_nothing_is_heard(gateway: Served, folder: Path) -> None:
    context = zmq.Context()
    plain = context.socket(zmq.DEALER)
    plain.linger = 0
    plain.connect(gateway.address)
    plain.send_multipart(encode(m.Hello(about={})))
    with Artist(gateway.address, new_client(folder, "bert")) as artist:
        assert isinstance(artist.end(artist.submit("a person")), e.Done)
    assert not plain.poll(0)
    plain.close()
    context.term()


def test_another_users_job_is_like_an_unknown_one(gateway: Served, folder: Path, tmp_path: Path) -> None:
    with (
        Artist(gateway.address, new_client(folder, "carl")) as owner,
        Artist(gateway.address, new_client(folder, "dora")) as other,
    ):
        job, unknown = owner.submit("files=1"), m.new_id()
        (info,) = owner.end(job).artifacts
        answers = []
        for asked in (job, unknown):
            other.client.attach(asked)
            failed = other.first(asked, e.Failed)
            other.client.cancel(asked)
            acked = other.first(asked, e.CancelAcked)
            other.client.fetch(asked, info.name, tmp_path / asked)
            fetched = other.first(asked, e.FetchFailed, e.Fetched)
            answers.append((failed.error, acked.outcome, fetched.error))
        assert answers[0] == answers[1]
        assert answers[0][0].code == "UNKNOWN_JOB"
        # The same id is nobody's but for its owner: somebody else's job under it is simply another one.
        with Artist(gateway.address, new_client(folder, "fritz")) as third:
            assert len(third.end(third.submit("files=3", job=job)).artifacts) == 3
        assert owner.of(job, *e.TERMINAL) == [owner.end(job)]


def test_a_revoked_client_is_out_at_once(gateway: Served, folder: Path) -> None:
    with Artist(gateway.address, new_client(folder, "emil")) as artist:
        job = artist.submit("steps=1000 seconds=0.02")
        artist.first(job, e.Started)
        AllowList(folder / "allowed.txt").revoke("emil")
        artist.client.status()
        artist.until(lambda: artist.client.state in ("lost", "refused"))
        assert not [x for x in artist.heard if isinstance(x, e.Status)]


def test_the_self_test_catches_a_door_left_open(folder: Path) -> None:
    """Without a handler and an enforced domain libzmq lets everybody in who knows the public key."""
    keys = read_key_file(folder / "server.json")
    for closed in (True, False):
        context, elsewhere = zmq.Context(), zmq.Context()
        gatekeeper = Gatekeeper(context if closed else elsewhere, AllowList(folder / "allowed.txt"))
        router = context.socket(zmq.ROUTER)
        router.linger = 0
        if closed:
            secure(router, keys)
        else:
            router.curve_server = True
            router.curve_secretkey = keys["secret"].encode()
        router.bind("tcp://127.0.0.1:*")
        try:
            if closed:
                self_test(context, router, gatekeeper, keys["public"])
                assert gatekeeper.refused == 1
            else:
                with pytest.raises(UserError, match="stranger"):
                    self_test(context, router, gatekeeper, keys["public"])
        finally:
            router.close()
            gatekeeper.close()
            context.term()
            elsewhere.term()


def test_a_gateway_with_an_open_door_does_not_start(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = ServeConfig(tmp_path / "state", f"tcp://127.0.0.1:{free_port()}", folder)

    def opened() -> None:
        gateway_module.Gateway(config, lambda: LocalExecutor({}, config.logs))._stack.close()

    def forgotten(router: zmq.Socket, keys: dict[str, str]) -> None:
        router.curve_server = True
        router.curve_secretkey = keys["secret"].encode()

    with zmq.Context() as elsewhere:
        monkeypatch.setattr(gateway_module, "secure", forgotten)
        monkeypatch.setattr(gateway_module, "Gatekeeper", lambda _, allowed: Gatekeeper(elsewhere, allowed))
        with pytest.raises(UserError, match="does not keep strangers out"):
            opened()
    monkeypatch.undo()
    opened()


def test_the_self_test_works_on_the_newer_addresses_too(folder: Path) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6")
    context = zmq.Context()
    router = context.socket(zmq.ROUTER)
    router.ipv6, router.linger = True, 0
    gatekeeper = Gatekeeper(context, AllowList(folder / "allowed.txt"))
    keys = read_key_file(folder / "server.json")
    secure(router, keys)
    try:
        for address in ("tcp://[::1]:*", "tcp://[::]:*"):
            before = gatekeeper.refused
            router.bind(address)
            self_test(context, router, gatekeeper, keys["public"])
            assert gatekeeper.refused == before + 1
            router.unbind(router.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"))
    finally:
        router.close()
        gatekeeper.close()
        context.term()


@pytest.mark.parametrize("host", ["0.0.0.0", "*", "[::]", "192.168.1.7", "studio.example"])
def test_nothing_public_without_keys(host: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["serve", "--address", f"tcp://{host}:29999", "--state", str(tmp_path / "state")]
    assert run(arguments) == 2
    assert "vitruvian keys server" in capsys.readouterr().err
    assert not (tmp_path / "state").exists()


def test_nothing_public_with_nobody_on_the_list(tmp_path: Path) -> None:
    make_key_file(tmp_path / "server.json")
    config = ServeConfig(tmp_path / "state", "tcp://0.0.0.0:29999", tmp_path)
    with pytest.raises(UserError, match="vitruvian keys allow"):
        check_exposure(config)
    check_exposure(ServeConfig(tmp_path / "state", "tcp://127.0.0.1:29999", tmp_path))


def test_addresses() -> None:
    assert is_loopback("127.0.0.1")
    assert is_loopback("::1")
    assert is_loopback("localhost")
    assert not is_loopback("0.0.0.0")
    with pytest.raises(UserError, match="address"):
        check_exposure(ServeConfig(Path("x"), "ipc:///tmp/x"))


def test_the_command_makes_and_lists_keys(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--keys", str(tmp_path)]
    assert run(["keys", "server", *where]) == 0
    server = capsys.readouterr().out.strip()
    assert run(["keys", "client", str(tmp_path / "ada.json"), "--server", server]) == 0
    public = capsys.readouterr().out.strip()
    assert read_key_file(tmp_path / "ada.json")["server"] == server
    assert stat.S_IMODE((tmp_path / "ada.json").stat().st_mode) == 0o600
    assert run(["keys", "allow", public, "ada", *where]) == 0
    assert run(["keys", "list", *where]) == 0
    assert capsys.readouterr().out.split() == ["ada", public]
    assert run(["keys", "revoke", "ada", *where]) == 0
    assert run(["keys", "revoke", "ada", *where]) == 2
    assert run(["keys", "server", *where]) == 2
    assert run(["keys", "allow", "short", "ada", *where]) == 2
    assert capsys.readouterr().out == ""
