"""Jobs on their way out: looked at in slices, then kept until the server has them. No bpy."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from .problems import Told

Check = Generator[int, None, "Told | None"]
"""A look at what is to be sent: yields the work done in each slice; returns what is wrong, if anything."""


@dataclass
class _Outgoing:
    packed: Any
    check: Check | None
    """None once it is over: the job may leave."""


class Outbox:
    """What a lost connection cannot take away: a new one sends it again."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Outgoing] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def add(self, job_id: str, packed: Any, check: Check | None) -> None:
        self._jobs[job_id] = _Outgoing(packed, check)

    def packed(self, job_id: str) -> Any:
        return self._jobs[job_id].packed

    def drop(self, job_id: str) -> None:
        """The server has it, or nobody wants it any more."""
        self._jobs.pop(job_id, None)

    @property
    def looking(self) -> bool:
        """Whether a job is being looked at before it leaves."""
        return any(job.check is not None for job in self._jobs.values())

    def look(self, budget_s: float, clock: Callable[[], float]) -> tuple[str, Told | None] | None:
        """Go on with the first look for about `budget_s`, at least one slice; what it found, once it ends."""
        going = next(((number, job) for number, job in self._jobs.items() if job.check is not None), None)
        if going is None:
            return None
        job_id, job = going
        until = clock() + budget_s
        try:
            assert job.check is not None
            next(job.check)
            while clock() < until:
                next(job.check)
        except StopIteration as end:
            job.check = None
            return job_id, end.value
        except Exception as error:
            traceback.print_exc()
            job.check = None
            return job_id, Told("INTERNAL", f"The body could not be looked at: {error}", "Copy the report")
        return None
