"""Scenes on their way in: what `put_begin` and `put_chunk` are answered with."""

from __future__ import annotations

from vitruvian.service.files import PartFile
from vitruvian.service.office import Office
from vitruvian.service.session import Session
from vitruvian.service.uploads import STALE_SECONDS, Upload, blob_path, has_blob
from vitruvian_protocol import limits
from vitruvian_protocol import messages as m
from vitruvian_protocol.errors import ErrorInfo, explain

MAX_UPLOADS = 4
"""Of one session at a time; and of broken ones that an owner may go on with."""
ALL_UPLOADS = 128
"""Of all sessions together, with those that broke off: each holds a file open."""
ALL_CREDIT_BYTES = 64 * limits.MIB
"""Credit given to all uploads together, but for a chunk that each may always have. What was granted and not
yet written may lie in this process's memory."""


class Intake:
    """Uploads by transfer. Sessions that send the same blob at once do not get in each other's way; a broken
    upload waits for the next session that sends the same blob."""

    def __init__(self, office: Office) -> None:
        self._office = office
        self._uploads: dict[str, Upload] = {}

    def begin(self, session: Session, message: m.PutBegin) -> None:
        """Offer to take a blob, from where an earlier upload broke off; or say that it is there already."""
        path = blob_path(self._office.config.blobs, session.owner, message.sha256)
        if has_blob(path, message.size):
            self._office.reply(session, m.PutReady(re=message.mid, offset=message.size, credit=0))
            return
        upload = self._broken(session, message)
        if upload is None:
            error = self._refusal(session, message)
            if error is not None:
                self._office.refuse(session, message.mid, error)
                return
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                file = PartFile(path, beside=message.mid)
            except OSError:
                self._office.refuse(session, message.mid, explain("DISK_FULL_SERVER"))
                return
            upload = Upload(session.owner, message.sha256, message.size, file)
        upload.peer, upload.touched = session.peer, self._office.clock()
        upload.close_window()
        credit = upload.open_window(self._window())
        self._uploads[message.mid] = upload
        self._office.reply(session, m.PutReady(re=message.mid, offset=upload.file.size, credit=credit))

    def chunk(self, session: Session, message: m.PutChunk) -> None:
        """Write the next bytes, and give credit for more."""
        transfer, upload = message.transfer, self._uploads.get(message.transfer)
        if upload is None or upload.peer != session.peer:
            return
        if not upload.takes(message.offset, message.data.nbytes):
            self._drop(transfer)
            self._office.refuse(session, transfer, explain("CORRUPT", problem="a piece is missing"))
            return
        try:
            upload.file.write(message.data)
        except OSError:
            self._drop(transfer)
            self._office.refuse(session, transfer, explain("DISK_FULL_SERVER"))
            return
        upload.touched = self._office.clock()
        if upload.whole:
            self._end(session, transfer, upload)
        elif grant := upload.new_credit(self._window(upload)):
            self._office.reply(session, m.Credit(transfer=transfer, size=grant))

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
                upload.close_window()
        broken = [t for t, u in self._uploads.items() if not u.peer and u.owner == session.owner]
        for transfer in broken[:-MAX_UPLOADS]:
            self._drop(transfer)

    def tidy(self) -> None:
        """Forget uploads that nobody goes on with."""
        limit = self._office.clock() - STALE_SECONDS
        for transfer, upload in list(self._uploads.items()):
            if upload.touched < limit:
                self._drop(transfer)

    @property
    def on_credit(self) -> int:
        """Bytes that were granted and have not come."""
        return sum(upload.on_credit for upload in self._uploads.values())

    def _window(self, upload: Upload | None = None) -> int:
        """How far ahead of the disk an upload may be now: whole chunks, fewer where many come at once."""
        others = self.on_credit - (upload.on_credit if upload is not None else 0)
        chunks = min(limits.WINDOW_BYTES, ALL_CREDIT_BYTES - others) // limits.CHUNK_BYTES
        return max(chunks, 1) * limits.CHUNK_BYTES

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
        """Why a new upload cannot begin now; a client tries again by itself where that can help."""
        if message.size > limits.SCENE_BYTES:
            return explain("TOO_LARGE", "$.size", "is too large", message.size, limits.SCENE_BYTES)
        promised = sum(upload.total - upload.file.size for upload in self._uploads.values())
        if not self._office.disk.has_room(promised + message.size):
            return explain("DISK_FULL_SERVER")
        if sum(upload.peer == session.peer for upload in self._uploads.values()) >= MAX_UPLOADS:
            return explain("RATE", problem="too many uploads at once")
        if len(self._uploads) >= ALL_UPLOADS:
            broken = next((t for t, u in self._uploads.items() if not u.peer), None)
            if broken is None:
                return explain("RATE", problem="too many uploads at once")
            self._drop(broken)
        return None

    def _end(self, session: Session, transfer: str, upload: Upload) -> None:
        """All bytes are there: they are flushed beside the loop, and only then acknowledged."""
        del self._uploads[transfer]
        if upload.file.sha256 != upload.sha256:
            upload.file.discard()
            error = explain("CORRUPT", problem="the scene has another hash")
            self._office.refuse(session, transfer, error)
            return

        def then(outcome: object) -> None:
            if isinstance(outcome, BaseException):
                upload.file.discard()
                self._office.refuse(session, transfer, explain("DISK_FULL_SERVER"))
            else:
                self._office.reply(session, m.PutDone(re=transfer, sha256=upload.sha256))

        self._office.background.run(lambda: settle(upload.file), then)

    def _drop(self, transfer: str) -> None:
        self._uploads.pop(transfer).file.discard()


def settle(file: PartFile) -> None:
    """Make a blob last, unless another session was quicker with the same one."""
    if has_blob(file.path, file.size):
        file.discard()
    else:
        file.finish()
