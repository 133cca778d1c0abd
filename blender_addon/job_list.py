"""All jobs of this Blender, as JSON in the user's folder. No bpy.

Several Blenders may run at once and share the file: each job has one living holder, which alone follows and
fetches it. What a Blender leaves behind is taken over by the next one that starts.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path
from typing import Any

from .files import take_lock, write_atomically
from .jobs import Job, job_from_json, job_to_json
from .processes import is_same, start_time

KEPT = 200
"""Ended jobs beyond this number are dropped, oldest first."""
LOCK_STALE_S = 5.0
"""Age at which the lock of a save that never finished is broken."""
PATIENCE_S = 0.2
"""How long a new job waits for another Blender's save."""


class JobList:
    """Jobs by id, oldest first, saved after each change that matters."""

    def __init__(self, folder: Path, pid: int | None = None) -> None:
        """`pid`: of the Blender that holds the jobs; None: of this process."""
        self.folder = folder
        self.path = folder / "jobs.json"
        self.jobs: dict[str, Job] = {}
        self.unsaved = False
        """Another Blender was saving: to be saved soon."""
        self._lock = folder / "jobs.lock"
        self._gone: set[str] = set()
        own = os.getpid() if pid is None else pid
        self._holder = {"pid": own, "started": start_time(own)}
        for entry in self._entries():
            job = None if self._is_elsewhere(entry) else job_from_json(entry)
            if job is not None:
                self.jobs[job.id] = job

    def results_folder(self, job_id: str) -> Path:
        return self.folder / "results" / job_id

    def path_of(self, job: Job, name: str) -> Path | None:
        """A file of a result, if it is here."""
        path = self.results_folder(job.id) / name
        return path if name in job.files and path.is_file() else None

    def add(self, job: Job) -> None:
        """The job is on the disk when this returns."""
        self.jobs[job.id] = job
        ended = [job.id for job in self.jobs.values() if job.ended]
        for job_id in ended[: max(0, len(ended) - KEPT)]:
            self.remove(job_id)
        until = time.monotonic() + PATIENCE_S
        while not self.save(durable=True) and time.monotonic() < until:
            time.sleep(0.005)

    def remove(self, job_id: str) -> None:
        """Forget an ended job and its files."""
        self.jobs.pop(job_id, None)
        self._gone.add(job_id)
        shutil.rmtree(self.results_folder(job_id), ignore_errors=True)

    def save(self, durable: bool = False) -> bool:
        """Write the list, with what other Blenders have in it; False where one of them is just saving.

        A disk that is full costs the list's freshness, not the session.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self.unsaved = not take_lock(self._lock, LOCK_STALE_S)
            if self.unsaved:
                return False
            try:
                write_atomically(self.path, self._text(), durable)
            finally:
                self._lock.unlink(missing_ok=True)
        except OSError as error:
            print(f"vitruvian: the job list cannot be saved: {error}")
        return True

    def _text(self) -> str:
        mine = [{**job_to_json(job), "holder": self._holder} for job in self.jobs.values()]
        others = [entry for entry in self._entries() if self._is_not_mine(entry)]
        entries = sorted(others + mine, key=_created)
        return json.dumps({"version": 1, "jobs": entries}, indent=1)

    def _is_not_mine(self, entry: Any) -> bool:
        job = job_from_json(entry)
        return job is not None and job.id not in self.jobs and job.id not in self._gone

    def _is_elsewhere(self, entry: Any) -> bool:
        """Whether another Blender that runs looks after this one."""
        holder = entry.get("holder") if isinstance(entry, dict) else None
        if not isinstance(holder, dict) or holder == self._holder:
            return False
        pid, started = holder.get("pid"), holder.get("started")
        return isinstance(pid, int) and isinstance(started, int | float) and is_same(pid, started)

    def _entries(self) -> list[Any]:
        """What the file has, good or not; one that is no list of jobs is moved out of the way."""
        try:
            data = json.loads(self.path.read_text(encoding="utf-8"))
            entries = data["jobs"] if isinstance(data, dict) else None
        except FileNotFoundError:
            return []
        except (OSError, ValueError, KeyError):
            entries = None
        if isinstance(entries, list):
            return entries
        try:
            os.replace(self.path, self.path.with_suffix(".damaged"))
        except OSError as error:
            print(f"vitruvian: a damaged job list cannot be moved away: {error}")
        return []


def _created(entry: dict[str, Any]) -> float:
    created = entry.get("created")
    return float(created) if isinstance(created, int | float) else 0.0
