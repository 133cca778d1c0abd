"""The dispatcher by itself: a fake executor, a clock that only the tests move, and a real store."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from vitruvian.service.config import ServeConfig
from vitruvian.service.disk import Disk
from vitruvian.service.dispatch import Dispatcher
from vitruvian.service.executor import Slot, WorkerReport
from vitruvian.service.pipes import Order
from vitruvian.service.rows import JobRow
from vitruvian.service.store import Store
from vitruvian.service.uploads import blob_path

CONFIG = ServeConfig(Path(), idle_release=60.0, job_seconds=100.0, lease_seconds=30.0, cancel_seconds=10.0)


class Devices:
    """An executor whose workers do what the test says, and note what they are told."""

    def __init__(self, **states: Any) -> None:
        self.all = {name: Slot(name, name, state, idle_since=1000.0) for name, state in states.items()}
        self.told: list[tuple[str, ...]] = []
        self.said: list[WorkerReport] = []
        self.orders: list[Order] = []
        self.waker, self._alarm = socket.socketpair()

    def slots(self) -> list[Slot]:
        return list(self.all.values())

    def change(self, slot: str, **values: Any) -> None:
        self.all[slot] = replace(self.all[slot], **values)

    def wake(self, slot: str) -> None:
        self.told.append(("wake", slot))
        self.change(slot, state="starting")

    def start(self, slot: str, order: Order) -> None:
        self.orders.append(order)
        self.change(slot, state="busy", job=order.job, attempt=order.attempt)

    def cancel(self, slot: str, job: str, attempt: int) -> None:
        self.told.append(("cancel", slot))

    def kill(self, slot: str) -> None:
        if ("kill", slot) not in self.told:
            self.told.append(("kill", slot))

    def sleep(self, slot: str) -> bool:
        if self.all[slot].state == "busy":
            return False
        self.told.append(("sleep", slot))
        self.change(slot, state="asleep")
        return True

    def reports(self) -> list[WorkerReport]:
        said, self.said = self.said, []
        return said

    def close(self) -> None:
        self.waker.close()
        self._alarm.close()


class Workshop:
    """A dispatcher between a store and devices."""

    def __init__(self, folder: Path, per_owner: int | None = None, **states: Any) -> None:
        self.now = 1000.0
        self.config = replace(CONFIG, state=folder)
        self.store, self.devices = Store(folder / "jobs.sqlite"), Devices(**states)
        audience = SimpleNamespace(changed=lambda job: None, progress=lambda *_: None)
        disk = cast(Disk, SimpleNamespace(has_room=lambda: True, ran_full=lambda: None))
        self.dispatcher = Dispatcher(
            self.config, self.store, disk, self.devices, cast(Any, audience), lambda: self.now, per_owner
        )

    def close(self) -> None:
        self.store.close()
        self.devices.close()

    def ask(self, name: str, owner: str = "ada") -> str:
        spec = json.dumps({"settings": {}}).encode()
        return self.store.accept(name, owner, "x", spec, ["0" * 64])[0].id

    def row(self, job: str) -> JobRow:
        row = self.store.job(job)
        assert row is not None
        return row

    def says(self, slot: str, kind: str, order: Order, **body: Any) -> None:
        """A worker's report, and what the dispatcher makes of it."""
        if kind in ("finished", "failed", "cancelled", "lost"):
            self.devices.change(slot, state="idle", job=None, idle_since=self.now)
        self.devices.said.append(WorkerReport(slot, kind, order.job, order.attempt, body))
        self.dispatcher.turn()

    def later(self, seconds: float) -> None:
        self.now += seconds
        self.dispatcher.turn()

    def finish(self, slot: str, order: Order) -> None:
        folder = Path(order.folder)
        folder.mkdir(parents=True)
        (folder / "a.bin").write_bytes(b"abc")
        self.says(slot, "finished", order, files=[{"name": "a.bin", "size": 3, "sha256": "0" * 64}])


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Workshop]:
    one = Workshop(tmp_path, a="idle")
    yield one
    one.close()


def test_a_device_without_work_gives_its_memory_back(shop: Workshop) -> None:
    shop.devices.change("a", idle_since=shop.now)
    shop.later(59.0)
    assert not shop.devices.told
    shop.later(2.0)
    assert shop.devices.told == [("sleep", "a")]
    shop.ask("wakes it")
    shop.later(0.1)
    assert shop.devices.told[-1] == ("wake", "a")


def test_memory_is_given_back_on_request_and_never_from_under_a_job(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, a="idle", b="idle")
    shop.ask("one")
    shop.later(0.1)
    assert shop.dispatcher.release_memory() == (1, 1)
    assert shop.devices.told == [("sleep", "b")]
    shop.close()


def test_no_more_devices_are_woken_than_there_is_work_for(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, a="asleep", b="asleep", c="asleep")
    shop.ask("one")
    shop.later(0.1)
    shop.later(0.1)
    assert shop.devices.told == [("wake", "a")]
    shop.ask("another")
    shop.later(0.1)
    assert shop.devices.told == [("wake", "a"), ("wake", "b")]
    shop.close()


def test_a_user_has_so_many_jobs_at_work(tmp_path: Path) -> None:
    shop = Workshop(tmp_path, per_owner=1, a="idle", b="idle")
    first, second = shop.ask("first"), shop.ask("second")
    other = shop.ask("somebody else's", owner="ben")
    shop.later(0.1)
    assert [order.job for order in shop.devices.orders] == [first, other]
    shop.finish("a", shop.devices.orders[0])
    assert shop.devices.orders[-1].job == second
    shop.close()


def test_a_job_that_takes_too_long_has_failed(shop: Workshop) -> None:
    job = shop.ask("endless")
    shop.later(0.1)
    (order,) = shop.devices.orders
    shop.says("a", "started", order)
    for _ in range(11):
        shop.says("a", "beat", order)
        shop.later(9.0)
    assert not shop.devices.told
    shop.says("a", "beat", order)
    shop.later(2.0)
    assert shop.devices.told == [("kill", "a")]
    shop.says("a", "lost", order, why="signal 9")
    row = shop.row(job)
    assert row.state == "failed"
    assert row.error is not None
    assert row.error["error"]["code"] == "TIME_LIMIT"
    assert len(shop.devices.orders) == 1, "it would take as long again"


def test_a_silent_worker_is_killed_and_its_job_begun_again(shop: Workshop) -> None:
    job = shop.ask("stuck")
    shop.later(0.1)
    (first,) = shop.devices.orders
    shop.later(31.0)
    assert shop.devices.told == [("kill", "a")]
    shop.says("a", "lost", first, why="signal 9")
    second = shop.devices.orders[-1]
    assert (second.job, second.attempt, shop.row(job).state) == (job, 2, "leased")


def test_what_an_earlier_attempt_still_says_is_not_published(shop: Workshop) -> None:
    """P2: a worker thought dead reports its result after the job was given to another."""
    job = shop.ask("twice")
    shop.later(0.1)
    (first,) = shop.devices.orders
    shop.says("a", "lost", first, why="no word")
    second = shop.devices.orders[-1]
    shop.finish("a", first)
    assert shop.row(job).state == "leased"
    assert shop.store.artifacts(job) == []
    assert not Path(first.folder).exists(), "nobody wants it"
    shop.finish("a", second)
    assert shop.row(job).state == "done"
    shop.finish("a", replace(first, folder=first.folder + "again"))
    assert [event.kind for event in shop.store.events(job)].count("done") == 1
    assert Path(second.folder).is_dir()


def test_a_worker_that_goes_on_after_a_cancel_is_killed(shop: Workshop) -> None:
    job = shop.ask("stubborn")
    shop.later(0.1)
    (order,) = shop.devices.orders
    assert shop.dispatcher.cancel(job) == "stopping"
    assert shop.dispatcher.cancel(job) == "stopping"
    assert shop.devices.told == [("cancel", "a")]
    shop.later(9.0)
    assert shop.devices.told == [("cancel", "a")]
    shop.later(2.0)
    assert shop.devices.told == [("cancel", "a"), ("kill", "a")]
    shop.says("a", "lost", order, why="signal 9")
    assert shop.row(job).state == "cancelled"


def test_a_result_that_was_ready_while_it_was_cancelled_is_not_published(shop: Workshop) -> None:
    """P4: who was told that a job stops never gets it as done."""
    job = shop.ask("late")
    shop.later(0.1)
    (order,) = shop.devices.orders
    assert shop.dispatcher.cancel(job) == "stopping"
    shop.finish("a", order)
    assert shop.row(job).state == "cancelled"
    assert shop.store.artifacts(job) == []
    assert not Path(order.folder).exists()


def test_stopping_the_server_costs_a_job_none_of_its_attempts(shop: Workshop) -> None:
    job = shop.ask("goes on")
    for _ in range(5):
        shop.devices.change("a", state="idle", job=None)
        shop.later(0.1)
        shop.dispatcher.give_back()
        assert shop.row(job).state == "queued"


def test_a_damaged_scene_is_thrown_away_so_that_it_can_be_sent_again(shop: Workshop) -> None:
    job = shop.ask("damaged")
    blob = blob_path(shop.config.blobs, "ada", "0" * 64)
    blob.parent.mkdir(parents=True)
    blob.write_bytes(b"damaged")
    shop.later(0.1)
    (order,) = shop.devices.orders
    assert order.scene == str(blob)
    shop.says("a", "failed", order, code="SCENE_DAMAGED", path="$", problem="does not match")
    row = shop.row(job)
    assert row.error is not None
    assert row.error["error"]["code"] == "SCENE_DAMAGED"
    assert not blob.exists()


def test_results_that_are_not_what_was_reported_are_not_published(shop: Workshop) -> None:
    wrong: list[dict[str, Any]] = [
        {"name": "../a.bin", "size": 3, "sha256": "0" * 64},
        {"name": "none.bin", "size": 3, "sha256": "0" * 64},
        {"name": "a.bin", "size": 2**40, "sha256": "0" * 64},
    ]
    for one in wrong:
        job = shop.ask(str(one))
        shop.later(0.1)
        order = shop.devices.orders[-1]
        shop.says("a", "finished", order, files=[one])
        assert shop.row(job).state == "failed"
        assert shop.store.artifacts(job) == []
