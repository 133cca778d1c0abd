"""Jobs on their way out: looked at and completed in slices, then kept until the server has them. No bpy."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .problems import Told

if TYPE_CHECKING:
    from vitruvian_protocol.scene import Scene, Settings

Check = Generator[int, None, "Told | Scene | None"]
"""A look at what is to be sent: yields the work done in each slice. Returns what is wrong, or the scene with
what takes time to read, or nothing where it can leave as it is."""


@dataclass
class _Outgoing:
    packed: Any
    """None while `scene` waits to be packed."""
    settings: Settings
    check: Check | None
    """None once it has ended."""
    scene: Scene | None = None
    """What takes the place of the scene that was packed at first."""
    may_leave: bool = False


class Outbox:
    """What a lost connection cannot take away: a new one sends it again."""

    def __init__(self) -> None:
        self._jobs: dict[str, _Outgoing] = {}

    def __contains__(self, job_id: str) -> bool:
        return job_id in self._jobs

    def add(self, job_id: str, packed: Any, settings: Settings, check: Check | None) -> None:
        self._jobs[job_id] = _Outgoing(packed, settings, check, may_leave=check is None)

    def packed(self, job_id: str, pack: Callable[[Scene, Settings], Any]) -> Any:
        """The job as it is sent; `pack` is used where its scene was completed since.

        Raises:
            ProtocolError: the scene cannot be sent.
        """
        job = self._jobs[job_id]
        if job.scene is not None:
            job.packed, job.scene = pack(job.scene, job.settings), None
        return job.packed

    def drop(self, job_id: str) -> None:
        """The server has it, or nobody wants it any more."""
        self._jobs.pop(job_id, None)

    @property
    def looking(self) -> bool:
        """Whether a job is being looked at before it leaves."""
        return any(not job.may_leave for job in self._jobs.values())

    def look(self, budget_s: float, clock: Callable[[], float]) -> tuple[str, Told | None] | None:
        """Go on with the first look for about `budget_s`, at least one slice; what is wrong, once it ends."""
        going = next(((number, job) for number, job in self._jobs.items() if not job.may_leave), None)
        if going is None:
            return None
        job_id, job = going
        if job.check is None:  # completed in the last tick: to pack it is a tick's work
            job.may_leave = True
            return job_id, None
        until = clock() + budget_s
        try:
            next(job.check)
            while clock() < until:
                next(job.check)
            return None
        except StopIteration as end:
            found = end.value
        except Exception as error:
            traceback.print_exc()
            found = Told("INTERNAL", f"The body could not be looked at: {error}", "Copy the report")
        job.check = None
        if found is None or isinstance(found, Told):
            job.may_leave = True
            return job_id, found
        job.scene = found
        return None
