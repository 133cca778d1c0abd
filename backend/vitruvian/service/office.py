"""What everything that answers clients works with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from vitruvian.service.background import Background
from vitruvian.service.config import ServeConfig
from vitruvian.service.disk import Disk
from vitruvian.service.dispatch import Dispatcher
from vitruvian.service.executor import Executor
from vitruvian.service.session import LOCAL_USER, Session
from vitruvian.service.store import Store
from vitruvian_protocol import messages as m
from vitruvian_protocol.errors import ErrorInfo


@dataclass(frozen=True)
class Office:
    """One gateway's parts, as its desk knows them."""

    config: ServeConfig
    store: Store
    disk: Disk
    dispatcher: Dispatcher
    executor: Executor
    background: Background
    reply: Callable[[Session, m.Message], None]
    """Sends a message to a session, or keeps it until there is room."""
    clock: Callable[[], float]
    """Monotonic seconds."""

    def refuse(self, session: Session, mid: str, error: ErrorInfo) -> None:
        """Answer message or transfer `mid` with an error."""
        self.reply(session, m.Error(re=mid, error=error))

    def quota(self, owner: str) -> int:
        """How many jobs an owner may have queued."""
        return self.config.queued if owner == LOCAL_USER else self.config.queued_per_user
