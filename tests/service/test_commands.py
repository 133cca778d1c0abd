"""`vitruvian status` and `vitruvian submit` where nothing is painted."""

from __future__ import annotations

from pathlib import Path

import pytest
from serving import Artist, free_port, served

from vitruvian.cli import connection, run
from vitruvian.cli.serve import parse_priors
from vitruvian.core.errors import UserError
from vitruvian.service.executor import local_workers
from vitruvian_protocol import events as e


def test_status_tells_of_queue_and_devices(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with served(tmp_path / "state") as gateway, Artist(gateway.address) as artist:
        job = artist.submit("steps=1000 seconds=0.02")
        artist.first(job, e.Started)
        assert run(["status", "--server", gateway.address]) == 0
        told = capsys.readouterr().out
        assert "1 running, 0 queued" in told
        assert "fake fake0: busy" in told
        assert f"job {job}: running" in told
        refused = ["submit", "a person", "--prior", "none-such", "--server", gateway.address]
        assert run([*refused, "--out", str(tmp_path / "out")]) == 2
        assert "prior" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
        artist.client.cancel(job)
        artist.end(job)


def test_no_server_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(connection, "CONNECT_SECONDS", 0.2)
    address = f"tcp://127.0.0.1:{free_port()}"
    assert run(["status", "--server", address]) == 2
    told = capsys.readouterr().err
    assert told.startswith("error: server")
    assert address in told
    assert len(told.splitlines()) == 1
    assert run(["status", "--server", "nowhere"]) == 2


def test_priors_have_names(tmp_path: Path) -> None:
    assert parse_priors(["mini", f"suits={tmp_path}"]) == {"mini": "mini", "suits": str(tmp_path)}
    with pytest.raises(UserError, match="no name"):
        parse_priors([str(tmp_path)])


def test_one_worker_for_each_device() -> None:
    workers = local_workers(["cuda:0", "cuda:1"], {"mini": "mini", "suits": "/models/suits"})
    assert list(workers) == ["cuda0", "cuda1"]
    assert workers["cuda1"][-3:] == ["cuda:1", "mini=mini", "suits=/models/suits"]
