"""A finished job's files, from the server onto this disk. No bpy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from .job_events import Change, Handler, Outcome, fail
from .jobs import ESSENTIAL, WANTED, Job
from .problems import Told, told

ATTEMPTS = 3


class Fetching:
    """Asks for the files that are wanted, again where that may help, and tells when a result is whole."""

    def __init__(self, folder_of: Callable[[str], Path], ask: Callable[[str, str, Path], None]) -> None:
        """`folder_of` a job's number; `ask` the server for a file of a job, to be put at the path."""
        self._folder_of = folder_of
        self._ask = ask
        self._attempts: dict[tuple[str, str], int] = {}
        self.handlers: dict[str, Handler] = {
            "Done": self._on_done,
            "FetchProgress": self._on_progress,
            "Fetched": self._on_fetched,
            "FetchFailed": self._on_failed,
        }
        """By the name of the event's class."""

    def start(self, job: Job) -> Outcome:
        """Ask for what is not here yet."""
        job.state, job.error = "fetching", None
        folder = self._folder_of(job.id)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            sentence = f"A result cannot be written: {error}"
            return fail(job, Told("FILE_LOCAL", sentence, "Make room, then fetch it again"))
        job.files = [name for name in job.files if (folder / name).is_file()]
        missing = [name for name in _wanted(job) if name not in job.files]
        for name in missing:
            self._attempts.pop((job.id, name), None)
            self._fetch(job, name)
        return (Change("job", job.id), True) if missing else _finish_if_whole(job)

    def _fetch(self, job: Job, name: str) -> None:
        self._ask(job.id, name, self._folder_of(job.id) / name)

    def _on_done(self, job: Job, event: Any) -> Outcome:
        job.artifacts = {item.name: item.size for item in event.artifacts}
        job.stage, job.fraction, job.eta_s = "fetching the result", 0.0, None
        job.cancelling = False
        return self.start(job)

    def _on_progress(self, job: Job, event: Any) -> Outcome:
        total = sum(job.artifacts.get(name, 0) for name in _wanted(job))
        here = sum(job.artifacts.get(name, 0) for name in job.files)
        job.fraction = min(1.0, (here + event.received) / max(total, 1))
        return Change("progress", job.id), False

    def _on_fetched(self, job: Job, event: Any) -> Outcome:
        if event.name not in job.files:
            job.files.append(event.name)
        return _finish_if_whole(job)

    def _on_failed(self, job: Job, event: Any) -> Outcome:
        key = (job.id, event.name)
        self._attempts[key] = self._attempts.get(key, 0) + 1
        if self._attempts[key] < ATTEMPTS and event.error.retry == "auto":
            self._fetch(job, event.name)
            return Change("job", job.id), False
        if event.name == ESSENTIAL:
            return fail(job, told(event.error))
        job.artifacts.pop(event.name, None)
        job.warnings.append(f"{event.name}: {event.error.sentence}")
        return _finish_if_whole(job)


def _wanted(job: Job) -> list[str]:
    return [name for name in WANTED if name in job.artifacts]


def _finish_if_whole(job: Job) -> Outcome:
    if any(name not in job.files for name in _wanted(job)):
        return Change("progress", job.id), True
    if ESSENTIAL not in job.files:
        return fail(job, Told("UNKNOWN_ARTIFACT", "The result has no texture", "Generate again"))
    job.state, job.fraction, job.error = "ready", 1.0, None
    return Change("ready", job.id), True
