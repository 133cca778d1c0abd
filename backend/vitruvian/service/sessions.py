"""Everybody who is connected: reading what they say, and sending what is due without waiting for anyone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import zmq

from vitruvian.service.curve import Gatekeeper
from vitruvian.service.downloads import Damaged
from vitruvian.service.rows import StoredEvent
from vitruvian.service.session import LOCAL_USER, REPLIES, Session, Watch
from vitruvian.service.store import Store
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.codec import decode, encode
from vitruvian_protocol.errors import ErrorInfo, ProtocolError, explain, info_of

if TYPE_CHECKING:
    from vitruvian.service.desk import Desk

log = logging.getLogger(__name__)

_CHUNKS_AT_ONCE = 8
"""Of one transfer before others have their turn."""
_UNCOUNTED = (m.PutChunk, m.Credit, m.PreviewAck, m.ArtifactAck, m.TransferStop)
"""Messages that come as often as others make them; they do not count towards the rate."""
_SILENT_SECONDS = limits.PING_SECONDS * (limits.PINGS_MISSED + 1)
"""A client of ours pings more often than this: a session silent for longer may make room for another."""
_STRANGERS = 1_000
"""Connections without a session that are remembered as having had their one answer."""


class Sessions:
    """The sessions of one gateway. Implements `dispatch.Audience`.

    Args:
        run: id of this run of the server.
        clock: monotonic seconds.
        gatekeeper: who may be here; None where there are no keys.
    """

    desk: Desk

    def __init__(
        self,
        router: zmq.Socket,
        store: Store,
        run: str,
        clock: Callable[[], float],
        gatekeeper: Gatekeeper | None,
    ) -> None:
        self._router, self._store, self._run, self._clock = router, store, run, clock
        self._gatekeeper = gatekeeper
        self._by_peer: dict[bytes, Session] = {}
        self._answered: dict[bytes, None] = {}
        self._moved = False
        self._moved_at = float("-inf")
        self.dropped = 0
        """Messages that were not of this protocol."""

    # ---- what comes in

    def receive(self) -> bool:
        """Read and answer one message; False where none waits."""
        try:
            peer, *frames = self._router.recv_multipart(zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        owner = self._owner(frames)
        if owner is None:
            self._forget(peer.bytes)
            return True
        try:
            message = decode([frame.buffer for frame in frames])
        except ProtocolError as error:
            self._refuse_malformed(peer.bytes, error)
            return True
        self._take(peer.bytes, owner, message)
        return True

    def _owner(self, frames: list[zmq.Frame]) -> str | None:
        """Who sends, by the key that the connection was made with; None where that key was revoked since."""
        if self._gatekeeper is None:
            return LOCAL_USER
        try:
            key = frames[-1].get("User-Id")
        except (zmq.ZMQError, IndexError):
            return None
        return str(key) if key in self._gatekeeper.allowed.names() else None

    def _take(self, peer: bytes, owner: str, message: m.Message) -> None:
        session = self._by_peer.get(peer)
        now = self._clock()
        if session is None:
            if isinstance(message, m.Hello):
                self._greet(peer, owner, message)
            else:
                self._send_once(peer, m.Error(re=message.mid, error=explain("NO_HELLO")))
            return
        session.heard = now
        if isinstance(message, m.Hello):
            self.reply(session, self.desk.welcome(session, message, self._run))
        elif isinstance(message, m.Bye):
            self._forget(peer)
        elif not isinstance(message, _UNCOUNTED) and not session.may_ask(now):
            self.desk.refuse(session, message.mid, explain("RATE"))
        else:
            self._answer(session, message)

    def _answer(self, session: Session, message: m.Message) -> None:
        """A fault of ours while answering one client must not end the service for all."""
        try:
            self.desk.answer(session, message)
        except Exception:
            error_id = message.mid[:8]
            log.exception("error %s while answering %s", error_id, message.t)
            self.desk.refuse(session, message.mid, explain("INTERNAL", error_id=error_id))

    def _greet(self, peer: bytes, owner: str, hello: m.Hello) -> None:
        error: ErrorInfo | None = None
        if not hello.wire_min <= limits.WIRE_MAJOR <= hello.wire_max:
            problem = (
                f"the client speaks {hello.wire_min} to {hello.wire_max}, the server {limits.WIRE_MAJOR}"
            )
            error = explain("WIRE_VERSION", problem=problem)
        elif not self._has_room(owner):
            error = explain("SESSIONS_FULL", limit=limits.SESSIONS)
        if error is not None:
            self._send_once(peer, m.Error(re=hello.mid, error=error))
            return
        session = Session(
            peer, owner, m.new_id(), self._clock(), m.BULK in hello.caps, tokens_at=self._clock()
        )
        self._by_peer[peer] = session
        self.reply(session, self.desk.welcome(session, hello, self._run))

    def _has_room(self, owner: str) -> bool:
        """Whether one more session fits; silent ones of the same owner make room."""
        own = [s for s in self._by_peer.values() if s.owner == owner]
        per_key = limits.SESSIONS if owner == LOCAL_USER else limits.SESSIONS_PER_KEY
        if len(own) < per_key and len(self._by_peer) < limits.SESSIONS:
            return True
        silent = min(own, key=lambda s: s.heard, default=None)
        if silent is None or self._clock() - silent.heard < _SILENT_SECONDS:
            return False
        self._forget(silent.peer)
        return True

    def _refuse_malformed(self, peer: bytes, error: ProtocolError) -> None:
        session = self._by_peer.get(peer)
        self.dropped += 1
        if error.code == "WIRE_VERSION":
            self._send_once(peer, m.Error(error=info_of(error)))
        elif error.code != "BAD_FRAME" and error.mid and session is not None:
            if error.t == m.Submit.t and error.job:
                self.reply(session, m.Rejected(re=error.mid, job=error.job, error=info_of(error)))
            else:
                self.reply(session, m.Error(re=error.mid, error=info_of(error)))

    # ---- what goes out

    def reply(self, session: Session, message: m.Message) -> None:
        """Send an answer, or keep it until there is room. A client that lets too many pile up is lost."""
        if self._by_peer.get(session.peer) is not session:
            return
        session.replies.append(message)
        self._pump_replies(session)
        if len(session.replies) > REPLIES:
            log.info("session %s does not read: closed", session.id)
            self._forget(session.peer)

    def pump(self) -> None:
        """Send what is due and what there is room for."""
        self._tell_positions()
        for session in list(self._by_peer.values()):
            session.blocked = False
            self._pump(session)

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
            if not self._send(session, event_message(event, watch.name, self._run)):
                return
            watch.told = event.seq
        session.fresh.discard(job)

    def _pump_downloads(self, session: Session) -> None:
        for transfer, download in list(session.downloads.items()):
            try:
                for _ in range(_CHUNKS_AT_ONCE):
                    chunk = None if session.blocked else download.next_chunk()
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
        if session.blocked:
            return False
        try:
            frames = encode(message, session.bulk)
        except ProtocolError:
            # A fault of ours: this message is lost, the gateway is not.
            log.exception("cannot be sent: %s", message.t)
            return True
        try:
            self._router.send_multipart([session.peer, *frames], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            session.blocked = True
            return False
        except zmq.ZMQError:
            session.blocked = True
            self._forget(session.peer)
            return False
        return True

    def _send_once(self, peer: bytes, message: m.Message) -> None:
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

    # ---- jobs' news (dispatch.Audience)

    def changed(self, job: str) -> None:
        """There are new events in the store, and perhaps the queue has moved."""
        self._moved = True
        for session, _ in self._watching(job):
            session.fresh.add(job)

    def progress(self, job: str, stage: str, fraction: float, eta_s: float | None, attempt: int) -> None:
        self.desk.stages[job] = stage, fraction
        for _, watch in self._watching(job):
            watch.progress = m.Progress(
                job=watch.name, stage=stage, fraction=fraction, eta_s=eta_s, attempt=attempt
            )

    def preview(self, job: str, kind: m.PreviewKind, jpeg: bytes) -> None:
        if len(jpeg) > limits.PREVIEW_BYTES:
            return
        for _, watch in self._watching(job):
            watch.previews[kind] = jpeg

    def _watching(self, job: str) -> Iterator[tuple[Session, Watch]]:
        for session in self._by_peer.values():
            if job in session.watches:
                yield session, session.watches[job]

    def _tell_positions(self) -> None:
        """Where in the queue waiting jobs are, once a second at most, when it has moved."""
        now = self._clock()
        if not self._moved or now - self._moved_at < 1.0:
            return
        self._moved, self._moved_at = False, now
        for job, position in self._store.positions().items():
            for _, watch in self._watching(job):
                watch.progress = m.Progress(job=watch.name, stage="waiting", fraction=0.0, position=position)

    # ---- comings and goings

    def expire(self) -> None:
        """Forget sessions that have been silent for too long, never their jobs."""
        limit = self._clock() - limits.SESSION_SECONDS
        for session in list(self._by_peer.values()):
            if session.heard < limit:
                self._forget(session.peer)

    def say_bye(self) -> None:
        """The server stops."""
        for session in list(self._by_peer.values()):  # a peer that is gone is forgotten while sending
            session.blocked = False
            self._send(session, m.Bye())
        for peer in list(self._by_peer):
            self._by_peer.pop(peer).close()

    def _forget(self, peer: bytes) -> None:
        session = self._by_peer.pop(peer, None)
        if session is not None:
            self.desk.leave(session)

    @property
    def hurried(self) -> bool:
        """Whether some client can be sent more right now."""
        return any(
            not s.blocked and any(d.can_go_on for d in s.downloads.values()) for s in self._by_peer.values()
        )

    @property
    def blocked(self) -> bool:
        """Whether something waits for room."""
        return any(s.blocked or s.replies for s in self._by_peer.values())

    @property
    def any_watch(self) -> bool:
        return any(s.watches for s in self._by_peer.values())


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
