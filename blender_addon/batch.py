"""A queue of bodies: who is waiting, sent, done or failed. Resumes after a crash. No bpy.

The queue is a JSON file; a job's number is in the session's own list before it leaves, so that a crash at any
moment finds each body either waiting or with the job that is painting it.
"""

from __future__ import annotations

import csv
import io
import json
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from .files import write_atomically
from .job_words import describe
from .jobs import Job
from .problems import Problem, Told
from .session import Session

State = Literal["waiting", "sent", "done", "failed", "cancelled"]
AT_ONCE = 4
"""Jobs of a batch at the server at one time; the server has a queue for everybody."""
ATTEMPTS = 3
LATER_S = 15.0
"""Pause after the server said that it is full."""


@dataclass
class Item:
    """One body of a batch."""

    body: str
    """The object's name."""
    prompt: str
    seed: int = 0
    state: State = "waiting"
    job: str = ""
    attempts: int = 0
    error: Told | None = None


@dataclass
class Batch:
    """The queue and the file that it is kept in."""

    path: Path
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    items: list[Item] = field(default_factory=list)

    def save(self) -> None:
        """Raises: OSError where the folder cannot be written."""
        items = [{**vars(i), "error": i.error.to_json() if i.error else None} for i in self.items]
        write_atomically(self.path, json.dumps({"version": 1, "id": self.id, "items": items}, indent=1))

    def tag(self, item: Item) -> str:
        """What a job of this item carries, so that it is found again."""
        return f"{self.id}:{item.body}"

    @property
    def finished(self) -> bool:
        return all(item.state in ("done", "failed", "cancelled") for item in self.items)

    def counts(self) -> dict[str, int]:
        found: dict[str, int] = {}
        for item in self.items:
            found[item.state] = found.get(item.state, 0) + 1
        return found


def load_batch(path: Path) -> Batch | None:
    """The queue in a file; None where there is none or it is damaged."""
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        items = [_item(entry) for entry in data["items"]]
        return Batch(path, str(data["id"]), items)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _item(entry: dict[str, Any]) -> Item:
    state = (
        entry["state"] if entry["state"] in ("waiting", "sent", "done", "failed", "cancelled") else "waiting"
    )
    return Item(
        str(entry["body"]),
        str(entry["prompt"]),
        int(entry["seed"]),
        state,
        str(entry["job"]),
        int(entry["attempts"]),
        Told.from_json(entry.get("error")),
    )


def resumed(path: Path, wanted: Iterable[Item], retry_failed: bool = False) -> Batch:
    """The queue of `path` brought up to date: the same body with the same words keeps its state."""
    batch = load_batch(path) or Batch(path)
    known = {(item.body, item.prompt, item.seed): item for item in batch.items}
    batch.items = [known.get((item.body, item.prompt, item.seed), item) for item in wanted]
    for item in batch.items:
        if retry_failed and item.state in ("failed", "cancelled"):
            _put_back(item, attempts=0)
    return batch


def _put_back(item: Item, attempts: int | None = None) -> None:
    item.state, item.job, item.error = "waiting", "", None
    if attempts is not None:
        item.attempts = attempts


def read_csv_file(path: Path, default_prompt: str = "") -> list[Item]:
    """As `read_csv`.

    Raises:
        Problem: it cannot be read, or a line is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Problem("CSV", f"The CSV cannot be read: {error}", "Give a UTF-8 text file") from error
    return read_csv(text, default_prompt)


def read_csv(text: str, default_prompt: str = "") -> list[Item]:
    """Bodies and prompts from a CSV with a header: `body` and `prompt`, optionally `seed`.

    Raises:
        Problem: naming the line.
    """
    rows = csv.DictReader(io.StringIO(text.lstrip("\ufeff")))
    names = [name.strip().lower() for name in rows.fieldnames or []]
    if "body" not in names:
        raise Problem("CSV", "The CSV's first line does not name a column `body`", "Write: body,prompt,seed")
    rows.fieldnames = names
    items: list[Item] = []
    for number, row in enumerate(rows, start=2):
        body = (row.get("body") or "").strip()
        prompt = (row.get("prompt") or "").strip() or default_prompt
        seed = (row.get("seed") or "").strip() or "0"
        if not body and not any(row.values()):
            continue
        if not body or not prompt:
            raise Problem(
                "CSV", f"Line {number} of the CSV lacks a body or a prompt", "Fill it in, or give a prompt"
            )
        if not seed.isdigit() or int(seed) >= 2**32:
            raise Problem(
                "CSV", f"Line {number} of the CSV has the seed {seed!r}", "Use a whole number from 0 on"
            )
        if any(item.body == body for item in items):
            raise Problem(
                "CSV", f"Line {number} of the CSV names {body!r} again", "Keep one line for each body"
            )
        items.append(Item(body, prompt, int(seed)))
    return items


class Runner:
    """Takes a batch through the session, one heavy thing a step; `step` is called again and again."""

    def __init__(
        self,
        batch: Batch,
        session: Session,
        send: Callable[[Item], Job],
        take: Callable[[Item, Job], bool],
        clock: Callable[[], float],
    ) -> None:
        """`send` exports a body and submits it; `take` puts a ready result in place, False for not yet."""
        self.batch = batch
        self._session = session
        self._send = send
        self._take = take
        self._clock = clock
        self._not_before = 0.0
        self._find_lost_jobs()

    def step(self) -> bool:
        """Follow the jobs, then export or apply at most one body; True when it did."""
        for item in self.batch.items:
            if item.state == "sent" and self._follow(item):
                self.batch.save()
                return True
        under_way = sum(item.state == "sent" for item in self.batch.items)
        waiting = next((item for item in self.batch.items if item.state == "waiting"), None)
        if waiting is None or under_way >= AT_ONCE or self._clock() < self._not_before:
            return False
        self._send_one(waiting)
        self.batch.save()
        return True

    def cancel(self) -> None:
        """Stop everything that is not done."""
        for item in self.batch.items:
            if item.state == "sent" and item.job in self._session.jobs:
                self._session.cancel(item.job)
            if item.state in ("waiting", "sent"):
                item.state = "cancelled"
        self.batch.save()

    def _find_lost_jobs(self) -> None:
        """Items that a crash left waiting although their job had been sent, or whose job is unknown."""
        for item in self.batch.items:
            jobs = [j for j in self._session.jobs.values() if j.batch == self.batch.tag(item)]
            if item.state == "waiting" and jobs and jobs[-1].state not in ("failed", "cancelled"):
                item.state, item.job = "sent", jobs[-1].id
            elif item.state == "sent" and item.job not in self._session.jobs:
                _put_back(item)

    def _send_one(self, item: Item) -> None:
        item.attempts += 1
        try:
            item.job, item.state, item.error = self._send(item).id, "sent", None
        except Problem as problem:
            item.state, item.error = "failed", problem.told

    def _follow(self, item: Item) -> bool:
        """Whether the item's state changed."""
        job = self._session.jobs.get(item.job)
        if job is None:
            _put_back(item)
            return True
        if job.state == "ready":
            try:
                if not self._take(item, job):
                    return False
            except Problem as problem:
                item.state, item.error = "failed", problem.told
                return True
            item.state = "done"
        elif job.state == "cancelled":
            item.state = "cancelled"
        elif job.state == "failed":
            self._after_failure(item, job)
        else:
            return False
        return True

    def _after_failure(self, item: Item, job: Job) -> None:
        error = job.error or Told("INTERNAL", "The job failed", "Try again")
        if error.retry == "later":
            self._not_before = self._clock() + LATER_S
            _put_back(item, attempts=item.attempts - 1)
        elif error.retry in ("auto", "once") and item.attempts < ATTEMPTS:
            _put_back(item)
        else:
            item.state, item.error = "failed", error


def status_of(item: Item, session: Session) -> str:
    """One or two words for a list: the item's state, or its job's while it is under way."""
    job = session.jobs.get(item.job)
    if item.state == "sent" and job is not None:
        percent = f" {job.fraction:.0%}" if job.state == "running" else ""
        return f"{describe(job)}{percent}"
    return item.state.capitalize()


def summary(batch: Batch) -> str:
    """A table for the end of a run."""
    lines = [("body", "state", "prompt", "remark")]
    for item in batch.items:
        remark = f"{item.error.sentence}. {item.error.remedy}" if item.error else ""
        lines.append((item.body, item.state, item.prompt[:40], remark))
    widths = [max(len(line[column]) for line in lines) for column in range(3)]
    rows = [
        "  ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=False)) + f"  {line[3]}"
        for line in lines
    ]
    rows.insert(1, "  ".join("-" * w for w in widths))
    return "\n".join(row.rstrip() for row in rows)
