"""Scenes on their way in: what `put_begin` and `put_chunk` are answered with."""

from __future__ import annotations

from collections.abc import Callable

from vitruvian.service.background import Background
from vitruvian.service.config import ServeConfig
from vitruvian.service.dispatch import Dispatcher
from vitruvian.service.files import PartFile
from vitruvian.service.session import Session
from vitruvian.service.uploads import STALE_SECONDS, Upload, blob_path
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.errors import ErrorInfo, explain

Reply = Callable[[Session, m.Message], None]
MAX_UPLOADS = 4
"""Of one session at a time; and of broken ones that an owner may go on with."""


class Intake:
    """Uploads by transfer. Sessions that send the same blob at once do not get in each other's way; a broken
    upload waits for the next session that sends the same blob.

    Args:
        reply: sends a message to a session, or keeps it until there is room.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        config: ServeConfig,
        dispatcher: Dispatcher,
        background: Background,
        reply: Reply,
        clock: Callable[[], float],
    ) -> None:
        self._config, self._dispatcher, self._background = config, dispatcher, background
        self._reply, self._clock = reply, clock
        self._uploads: dict[str, Upload] = {}

    def begin(self, session: Session, message: m.PutBegin) -> None:
        """Offer to take a blob, from where an earlier upload broke off; or say that it is there already."""
        path = blob_path(self._config.blobs, session.owner, message.sha256)
        if path.is_file():
            self._reply(session, m.PutReady(re=message.mid, offset=message.size, credit=0))
            return
        upload = self._broken(session, message)
        if upload is None:
            error = self._refusal(session, message)
            if error is not None:
                self._refuse(session, message.mid, error)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            file = PartFile(path, beside=message.mid)
            upload = Upload(session.owner, message.sha256, message.size, file)
        upload.peer, upload.touched = session.peer, self._clock()
        self._uploads[message.mid] = upload
        credit = upload.open_window()
        self._reply(session, m.PutReady(re=message.mid, offset=upload.file.size, credit=credit))

    def chunk(self, session: Session, message: m.PutChunk) -> None:
        """Write the next bytes, and give credit for more."""
        transfer, upload = message.transfer, self._uploads.get(message.transfer)
        if upload is None or upload.peer != session.peer:
            return
        if not upload.takes(message.offset, message.data.nbytes):
            self._drop(transfer)
            self._refuse(session, transfer, explain("CORRUPT", problem="a piece is missing"))
            return
        try:
            upload.file.write(message.data)
        except OSError:
            self._drop(transfer)
            self._refuse(session, transfer, explain("DISK_FULL_SERVER"))
            return
        upload.touched = self._clock()
        if upload.whole:
            self._end(session, transfer, upload)
        elif grant := upload.new_credit():
            self._reply(session, m.Credit(transfer=transfer, size=grant))

    def stop(self, session: Session, transfer: str) -> None:
        """The client does not want to go on."""
        upload = self._uploads.get(transfer)
        if upload is not None and upload.peer == session.peer:
            self._drop(transfer)

    def leave(self, session: Session) -> None:
        """A session has ended: what it had not finished waits for its next one."""
        for upload in self._uploads.values():
            if upload.peer == session.peer:
                upload.peer = b""
        broken = [t for t, u in self._uploads.items() if not u.peer and u.owner == session.owner]
        for transfer in broken[:-MAX_UPLOADS]:
            self._drop(transfer)

    def tidy(self) -> None:
        """Forget uploads that nobody goes on with."""
        limit = self._clock() - STALE_SECONDS
        for transfer, upload in list(self._uploads.items()):
            if upload.touched < limit:
                self._drop(transfer)

    def _broken(self, session: Session, message: m.PutBegin) -> Upload | None:
        """The longest broken upload of the same blob, taken out of the list."""
        same = (session.owner, message.sha256, message.size)
        fitting = [
            (upload.file.size, transfer)
            for transfer, upload in self._uploads.items()
            if upload.peer in (b"", session.peer) and (upload.owner, upload.sha256, upload.total) == same
        ]
        return self._uploads.pop(max(fitting)[1]) if fitting else None

    def _refusal(self, session: Session, message: m.PutBegin) -> ErrorInfo | None:
        if message.size > limits.SCENE_BYTES:
            return explain("TOO_LARGE", "$.size", "is too large", message.size, limits.SCENE_BYTES)
        if self._dispatcher.disk_full:
            return explain("DISK_FULL_SERVER")
        if sum(upload.peer == session.peer for upload in self._uploads.values()) >= MAX_UPLOADS:
            return explain("RATE", problem="too many uploads at once")
        return None

    def _end(self, session: Session, transfer: str, upload: Upload) -> None:
        """All bytes are there: they are flushed beside the loop, and only then acknowledged."""
        del self._uploads[transfer]
        if upload.file.sha256 != upload.sha256:
            upload.file.discard()
            self._refuse(session, transfer, explain("CORRUPT", problem="the scene has another hash"))
            return

        def then(outcome: object) -> None:
            if isinstance(outcome, BaseException):
                upload.file.discard()
                self._refuse(session, transfer, explain("DISK_FULL_SERVER"))
            else:
                self._reply(session, m.PutDone(re=transfer, sha256=upload.sha256))

        self._background.run(lambda: settle(upload.file), then)

    def _drop(self, transfer: str) -> None:
        self._uploads.pop(transfer).file.discard()

    def _refuse(self, session: Session, transfer: str, error: ErrorInfo) -> None:
        self._reply(session, m.Error(re=transfer, error=error))


def settle(file: PartFile) -> None:
    """Make a blob last, unless another session was quicker with the same one."""
    if file.path.is_file():
        file.discard()
    else:
        file.finish()
