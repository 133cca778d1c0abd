"""Sending what is due to each client, without waiting for any of them, and without keeping much for any."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from typing import Any

import zmq

from vitruvian.service.downloads import Damaged
from vitruvian.service.rows import TERMINAL, StoredEvent
from vitruvian.service.session import REPLIES, Session, Watch
from vitruvian.service.store import Store
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import encode
from vitruvian_protocol.errors import ErrorInfo, ProtocolError, explain

log = logging.getLogger(__name__)

_CHUNKS_AT_ONCE = 8
"""Of one transfer before others have their turn."""
OWN_BYTES = 2 * limits.WINDOW_BYTES
"""Of files, handed to the socket for one session and not yet taken from there by the system."""
ALL_BYTES = 64 * limits.MIB
"""The same for all sessions together, but for a chunk that each may always have."""
_STRANGERS = 1_000
"""Connections without a session that are remembered as having had their one answer."""


class Delivery:
    """What goes out of one gateway.

    Args:
        run: id of this run of the server.
        clock: monotonic seconds.
    """

    def __init__(self, router: zmq.Socket, store: Store, run: str, clock: Callable[[], float]) -> None:
        self._router, self._store, self._clock = router, store, clock
        self.run = run
        self._answered: dict[bytes, None] = {}
        self._on_way = 0

    def reply(self, session: Session, message: m.Message) -> None:
        """Send an answer, or keep it until there is room. A client that lets too many pile up is lost."""
        if session.closed:
            return
        session.replies.append(message)
        self._pump_replies(session)
        if len(session.replies) > REPLIES:
            log.info("session %s does not read: closed", session.id)
            session.lost = True

    def pump(self, sessions: Collection[Session]) -> None:
        """Send what is due and what there is room for."""
        self._on_way = sum(session.on_way() for session in sessions)
        for session in sessions:
            session.blocked = session.full = False
            self._pump(session)

    def send_once(self, peer: bytes, message: m.Message) -> None:
        """One answer to a connection that has no session, and no more."""
        if peer in self._answered:
            return
        if len(self._answered) >= _STRANGERS:
            self._answered.pop(next(iter(self._answered)))
        self._answered[peer] = None
        try:
            self._router.send_multipart([peer, *encode(message)], zmq.NOBLOCK)
        except zmq.ZMQError:
            log.debug("a stranger was gone before it was answered")

    def say_bye(self, session: Session) -> None:
        """The server stops."""
        session.blocked = False
        self._send(session, m.Bye())

    def _pump(self, session: Session) -> None:
        """Answers first, then events, then the results, then what may be dropped."""
        self._pump_replies(session)
        for job in list(session.fresh):
            if session.blocked:
                return
            self._pump_events(session, job)
        self._pump_downloads(session)
        for job, watch in session.watches.items():
            if not session.blocked:
                self._pump_news(session, job, watch)

    def _pump_replies(self, session: Session) -> None:
        while session.replies and self._send(session, session.replies[0]):
            session.replies.popleft()

    def _pump_events(self, session: Session, job: str) -> None:
        """Durable events in their order, straight from the store: nothing else remembers them."""
        watch = session.watches[job]
        for event in self._store.events(job, watch.told):
            if not self._send(session, event_message(event, watch.name, self.run)):
                return
            watch.told = event.seq
            if event.kind in TERMINAL:
                session.watches.pop(job, None)
        session.fresh.discard(job)

    def _pump_downloads(self, session: Session) -> None:
        for transfer, download in list(session.downloads.items()):
            try:
                for _ in range(_CHUNKS_AT_ONCE):
                    chunk = download.next_chunk() if self._has_room(session) else None
                    if chunk is None:
                        break
                    at, data = chunk
                    if self._send(session, m.ArtifactChunk(re=transfer, offset=at, data=memoryview(data))):
                        download.sent()
            except Damaged as error:
                log.error("a result is damaged on disk: %s", error)
                refusal = explain("UNKNOWN_ARTIFACT", "$.name", got=download.file.name)
                session.replies.append(m.Error(re=transfer, error=refusal))
                session.downloads.pop(transfer).close()
                continue
            if download.finished and session.downloads.pop(transfer, None):
                download.close()

    def _has_room(self, session: Session) -> bool:
        """Whether one more piece of a file may be handed over."""
        if session.blocked:
            return False
        own = session.on_way()
        piece = limits.BULK_CHUNK_BYTES if session.bulk else limits.CHUNK_BYTES
        session.full = own > 0 and (own + piece > OWN_BYTES or self._on_way + piece > ALL_BYTES)
        return not session.full

    def _pump_news(self, session: Session, job: str, watch: Watch) -> None:
        now = self._clock()
        if watch.progress is not None and now - watch.progress_at >= 1.0 / limits.PROGRESS_PER_SECOND:
            message, watch.progress, watch.progress_at = watch.progress, None, now
            self._send(session, message)
        for kind, jpeg in list(watch.previews.items()):
            due = now - watch.preview_at.get(kind, float("-inf")) >= 1.0 / limits.PREVIEW_PER_SECOND
            if due and kind not in watch.unread:
                preview = m.Preview(job=watch.name, kind=kind, jpeg=memoryview(jpeg))
                watch.preview_at[kind] = now
                if self._send(session, preview):
                    watch.unread[kind] = preview.mid
                    del watch.previews[kind]

    def _send(self, session: Session, message: m.Message) -> bool:
        """Hand a message to the socket; False where there is no room for it or the client is gone."""
        if session.blocked or session.lost or session.closed:
            return False
        try:
            frames = encode(message, session.bulk)
        except ProtocolError:
            # A fault of ours: this message is lost, the gateway is not.
            log.exception("cannot be sent: %s", message.t)
            return True
        piece = isinstance(message, m.ArtifactChunk)
        try:
            tracker = self._router.send_multipart(
                [session.peer, *frames], zmq.NOBLOCK, copy=False, track=piece
            )
        except zmq.Again:
            session.blocked = True
            return False
        except zmq.ZMQError:
            session.lost = True
            return False
        if tracker is not None:
            session.sent.append((tracker, len(frames[-1])))
            self._on_way += len(frames[-1])
        return True


def event_message(event: StoredEvent, name: str, run: str) -> m.Durable:
    """A stored event as it travels."""
    base: dict[str, Any] = {"job": name, "seq": event.seq, "run": run}
    body = event.body
    match event.kind:
        case "done":
            return m.Done(**base, artifacts=tuple(m.ArtifactInfo(**a) for a in body["artifacts"]))
        case "failed":
            return m.Failed(**base, error=ErrorInfo(**body["error"]))
        case "cancelled":
            return m.Cancelled(**base)
        case "queued" | "started" | "stage" | "warning":
            text, attempt = body.get("text", ""), body.get("attempt", 0)
            return m.Event(**base, kind=event.kind, text=text, attempt=attempt)
        case _:
            raise ValueError(f"an event of kind {event.kind!r}")
