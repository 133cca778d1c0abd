"""Files that are whole or not there, results that are damaged, and what the state folder need not keep."""

from __future__ import annotations

import hashlib
import io
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import free_port

from vitruvian.service import gateway as module
from vitruvian.service.config import ServeConfig
from vitruvian.service.downloads import Damaged, Download
from vitruvian.service.executor import LocalExecutor
from vitruvian.service.files import PartFile, StoredFile
from vitruvian.service.gateway import Gateway
from vitruvian.service.housekeeping import DAY, clear_old, clear_partial
from vitruvian.service.intake import settle
from vitruvian.service.store import Store
from vitruvian.service.uploads import blob_path

SHA = "ab" * 32
DATA = bytes(range(256)) * 100
FILE = StoredFile("a.bin", len(DATA), hashlib.sha256(DATA).hexdigest())


NOW = time.time()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    one = Store(tmp_path / "jobs.sqlite", wall=lambda: NOW)
    yield one
    one.close()


def write(path: Path, data: bytes = b"x", days_old: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (NOW - days_old * DAY, NOW - days_old * DAY))
    return path


def test_only_what_belongs_to_a_job_is_kept(store: Store, tmp_path: Path) -> None:
    config = ServeConfig(tmp_path, keep_days=14.0)
    row, _ = store.accept("done", "ada", "x", b"{}", [SHA])
    assert store.lease("w", 1.0) is not None
    store.publish(row.id, 1, [FILE])
    result = write(config.results / row.id / "1" / FILE.name)
    scene = write(blob_path(config.blobs, "ada", SHA), days_old=2)
    waiting = write(blob_path(config.blobs, "ada", "cd" * 32))
    arriving = write(blob_path(config.blobs, "ada", "12" * 32).with_suffix(".part"), days_old=2)
    nobodys = [
        write(config.results / row.id / "2.part" / "a.bin"),
        write(config.results / "no such job" / "1" / "a.bin"),
        write(blob_path(config.blobs, "ada", "ef" * 32), days_old=2),
        write(blob_path(config.blobs, "ben", SHA), days_old=2),
    ]

    def there() -> list[bool]:
        return [path.exists() for path in (result, scene, waiting, arriving)]

    assert clear_old(config, store, NOW) == []
    assert there() == [True, True, True, True]
    assert not any(path.exists() for path in nobodys)
    assert clear_old(config, store, NOW + 13 * DAY) == []
    assert there() == [True, True, False, True]
    assert clear_old(config, store, NOW + 15 * DAY) == [row.id]
    assert there() == [False, False, False, True], "what arrives is the intake's"
    clear_partial(config)
    assert not arriving.exists()


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    part = PartFile(path, beside="1")
    part.write(DATA)
    assert not path.exists()
    assert part.finish() == StoredFile("blob", FILE.size, FILE.sha256)
    assert path.read_bytes() == DATA
    part = PartFile(tmp_path / "other", beside="1")
    part.write(DATA)
    part.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["blob"]


def test_a_blob_that_is_there_is_kept_and_one_that_was_cut_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "blob"
    for there, afterwards in ((DATA[::-1], DATA[::-1]), (DATA[:-1], DATA), (b"", DATA)):
        path.write_bytes(there)
        part = PartFile(path, beside="1")
        part.write(DATA)
        settle(part)
        assert path.read_bytes() == afterwards
        assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no disk here that is always full")
def test_on_a_full_disk_nothing_is_left_behind(tmp_path: Path) -> None:
    part = PartFile(tmp_path / "blob")
    part._file.close()
    with Path("/dev/full").open("wb", buffering=0) as full:
        part._file = io.BufferedWriter(full)  # pyright: ignore[reportAttributeAccessIssue]
        part.write(b"stays in a buffer until it is closed")
        part.discard()
    assert list(tmp_path.iterdir()) == []


def read_out(download: Download) -> bytes:
    data = b""
    while not download.finished:
        download.credit = FILE.size
        chunk = download.next_chunk()
        if chunk is not None:
            assert chunk[0] == len(data)
            data += chunk[1]
            download.sent()
    return data


def test_no_more_is_read_out_than_was_asked_for(tmp_path: Path) -> None:
    download = Download(write(tmp_path / "a.bin", DATA), FILE, 100, 1500, 1000)
    pieces = []
    for _ in range(10):
        chunk = download.next_chunk()
        if chunk is not None:
            assert download.next_chunk() == chunk, "until it is on its way"
            pieces.append((chunk[0], len(chunk[1])))
            download.sent()
    assert pieces == [(100, 1000), (1100, 500)]
    assert not download.can_go_on
    download.credit += 1
    assert download.can_go_on
    download.close()


def test_a_result_is_hashed_again_on_its_way_out(tmp_path: Path) -> None:
    path = write(tmp_path / "a.bin", DATA)
    assert read_out(Download(path, FILE, 0, 0, 1000)) == DATA
    damaged = bytearray(DATA)
    damaged[17] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(Damaged, match="hash"):
        read_out(Download(path, FILE, 0, 0, 1000))
    path.write_bytes(DATA[:-1])
    with pytest.raises(Damaged, match="size"):
        Download(path, FILE, 0, 0, 1000)
    path.unlink()
    with pytest.raises(Damaged, match="read"):
        Download(path, FILE, 0, 0, 1000)


def test_a_disk_that_cannot_be_read_is_a_damaged_result_and_no_end_of_the_gateway(tmp_path: Path) -> None:
    download = Download(write(tmp_path / "a.bin", DATA), FILE, 0, FILE.size, 1000)

    class Broken:
        def read(self, size: int) -> bytes:
            raise OSError(5, "Input/output error")

        def close(self) -> None: ...

    download.close()
    download._stream = Broken()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(Damaged, match="read"):
        download.next_chunk()


def test_the_database_is_copied_every_hour(tmp_path: Path) -> None:
    now = [0.0]
    config = ServeConfig(tmp_path, f"tcp://127.0.0.1:{free_port()}", min_free=0)
    gateway = Gateway(config, lambda: LocalExecutor({}, config.logs), lambda: now[0])
    copy = tmp_path / "jobs.backup.sqlite"
    try:
        gateway._store.accept("a", "ada", "x", b"{}", [])
        now[0] = module._BACKUP_SECONDS - 1.0
        gateway._turn()
        assert not copy.exists()
        now[0] += 2.0
        gateway._turn()
        rows = sqlite3.connect(copy)
        assert rows.execute("SELECT name FROM jobs").fetchall() == [("a",)]
        rows.close()
    finally:
        gateway._stack.close()
