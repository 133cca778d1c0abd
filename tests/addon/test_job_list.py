"""The job list on the disk, which several Blenders share."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from scripted import ScriptedClient
from world import World

jobs_module = import_module("vitruvian_addon.jobs")
list_module = import_module("vitruvian_addon.job_list")
session_module = import_module("vitruvian_addon.session")
connection = import_module("vitruvian_addon.connection")
files = import_module("vitruvian_addon.files")

TARGET = jobs_module.Target("file-1", "a.blend", "uid-1", "Body")


def job(created: float, state: str = "queued") -> Any:
    return jobs_module.Job(str(uuid.uuid4()), TARGET, {"prompt": "a man"}, "local", created, state)


def on_disk(folder: Path) -> list[str]:
    return [entry["id"] for entry in json.loads((folder / "jobs.json").read_text())["jobs"]]


def test_two_blenders_keep_each_others_jobs_and_leave_them_alone(tmp_path: Path) -> None:
    """The other one's place is taken by this process's parent, which runs as well."""
    mine, theirs = list_module.JobList(tmp_path), list_module.JobList(tmp_path, os.getppid())
    first, second, third = job(1.0), job(2.0), job(3.0)
    mine.add(first)
    theirs.add(second)
    mine.add(third)
    assert on_disk(tmp_path) == [first.id, second.id, third.id]
    assert list(mine.jobs) == [first.id, third.id]
    assert list(list_module.JobList(tmp_path, os.getppid()).jobs) == [second.id]
    mine.remove(first.id)
    mine.save()
    theirs.save()
    assert on_disk(tmp_path) == [second.id, third.id], "what was removed does not come back"


def test_what_a_blender_left_is_taken_over_by_the_next(tmp_path: Path) -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    left = list_module.JobList(tmp_path, ended.pid)
    ended.wait()
    left.add(job(1.0))
    mine = list_module.JobList(tmp_path)
    assert list(mine.jobs) == list(left.jobs)
    mine.save()
    assert list_module.JobList(tmp_path, os.getppid()).jobs == {}


def test_a_save_that_meets_another_is_made_up_for(tmp_path: Path) -> None:
    session = session_module.Session(tmp_path, lambda _: ScriptedClient(), lambda: 0.0, lambda: 5.0)
    session.use(connection.Endpoint("tcp://127.0.0.1:1"))
    lock = tmp_path / "jobs.lock"
    lock.touch()
    waiting = job(1.0)
    session.jobs[waiting.id] = waiting
    assert not session.list.save()
    session.tick()
    assert not (tmp_path / "jobs.json").exists()
    lock.unlink()
    session.tick()
    assert on_disk(tmp_path) == [waiting.id]
    assert not session.list.unsaved


def test_a_lock_that_a_crash_left_is_broken(tmp_path: Path) -> None:
    lock = tmp_path / "x.lock"
    assert files.take_lock(lock, 5.0)
    assert not files.take_lock(lock, 5.0)
    os.utime(lock, (1.0, 1.0))
    assert files.take_lock(lock, 5.0)


def test_a_full_disk_is_told_and_survived(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "in the way").touch()
    shut = list_module.JobList(tmp_path / "in the way" / "folder")
    shut.add(job(1.0))
    assert len(shut.jobs) == 1
    assert "cannot be saved" in capsys.readouterr().out


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"jobs": 3}', '{"jobs": [{"id": "../../x"}, 5, {"id": null}]}', '{"jobs": [{}]}']
)
def test_a_damaged_list_is_survived(tmp_path: Path, text: str) -> None:
    (tmp_path / "jobs.json").write_text(text)
    world = World(tmp_path)
    assert world.session.jobs == {}
    world.online()
    world.send()
    assert len(json.loads((tmp_path / "jobs.json").read_text())["jobs"]) == 1


def test_old_jobs_and_their_files_are_dropped(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(list_module, "KEPT", 2)
    world.online()
    ended = []
    for _ in range(3):
        job_id = world.send()
        world.client.finish(job_id)
        world.session.tick()
        world.client.deliver(job_id)
        world.session.tick()
        ended.append(job_id)
    world.send()
    assert list(world.session.jobs)[:2] == ended[1:]
    assert not world.session.list.results_folder(ended[0]).exists()
    world.session.forget(ended[1])
    assert ended[1] not in world.session.jobs
