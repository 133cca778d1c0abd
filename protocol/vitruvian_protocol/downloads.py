"""Files of a job on their way to the disk: one at a time, pulled under credit, checked, put in place."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

from . import limits
from .errors import ErrorInfo, explain
from .events import Event, Fetched, FetchFailed, FetchProgress
from .link import Link
from .messages import (
    ArtifactAck,
    ArtifactBegin,
    ArtifactChunk,
    ArtifactGet,
    Credit,
    Error,
    Message,
    TransferStop,
)

_HASH_STEP = 4 * limits.MIB
"""Bytes of an old `.part` that are hashed in one step: a few milliseconds."""
_WRITE_STEP = 4 * limits.MIB
"""The disk is set to work so often, lest all of a large file be waited for at its end, in one call."""


@dataclass
class Download:
    """One file; `file` is open from the first step to the last."""

    job: str
    name: str
    target: Path
    file: BinaryIO | None = None
    digest: Any = field(default_factory=hashlib.sha256)
    hashed: int = 0
    """Bytes that are on the disk and in `digest`."""
    old: int = 0
    """Bytes that a `.part` had when it was opened."""
    transfer: str = ""
    size: int = -1
    sha256: str = ""
    ungranted: int = 0
    begun: int = 0
    """Offset up to which the disk is at work."""
    told: int = -1
    damaged: int = 0

    @property
    def part(self) -> Path:
        return self.target.with_name(self.target.name + ".part")

    def open(self) -> None:
        """Raises OSError. A link in the way is not followed."""
        self.target.parent.mkdir(parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
        self.file = os.fdopen(os.open(self.part, flags, 0o644), "r+b", buffering=0)
        self.old = os.fstat(self.file.fileno()).st_size
        if self.old > limits.ARTIFACT_BYTES:
            self.empty()

    def empty(self) -> None:
        """Begin from nothing."""
        assert self.file is not None
        self.file.seek(0)
        self.file.truncate(0)
        self.old = self.hashed = self.begun = 0
        self.digest = hashlib.sha256()

    def hash_some(self) -> None:
        """Take a piece of the old `.part` into the digest."""
        assert self.file is not None
        piece = self.file.read(min(_HASH_STEP, self.old - self.hashed))
        if not piece:
            self.old = self.hashed
        self.digest.update(piece)
        self.hashed += len(piece)

    def write(self, data: memoryview) -> None:
        """Raises OSError; a short write is one."""
        assert self.file is not None
        if self.file.write(data) != data.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.digest.update(data)
        self.hashed += data.nbytes
        if self.hashed - self.begun >= _WRITE_STEP:
            _begin_writing(self.file.fileno(), self.begun, self.hashed - self.begun)
            self.begun = self.hashed

    def finish(self) -> None:
        """Put the file in its place. Raises OSError."""
        assert self.file is not None
        os.fsync(self.file.fileno())
        self.close()
        os.replace(self.part, self.target)

    def close(self) -> None:
        if self.file is not None:
            self.file.close()
            self.file = None


def _begin_writing(descriptor: int, start: int, size: int) -> None:
    """Set the disk to work on what was written, without waiting for it where the system can do that."""
    if hasattr(os, "posix_fadvise"):
        # Pages that are dirty are not dropped by this: their way to the disk begins.
        os.posix_fadvise(descriptor, start, size, os.POSIX_FADV_DONTNEED)
    else:
        os.fsync(descriptor)


class Downloads:
    """A queue of downloads, worked from its head."""

    def __init__(self, link: Link, emit: Callable[[Event], None], clock: Callable[[], float]) -> None:
        self._link, self._emit, self._clock = link, emit, clock
        self._queue: list[Download] = []
        self._moved = clock()
        self._paused_until = clock()

    def add(self, job: str, name: str, target: Path) -> None:
        """A file that is being fetched already is not fetched twice."""
        if not any((d.job, d.name, d.target) == (job, name, target) for d in self._queue):
            self._queue.append(Download(job, name, target))
            self._moved = self._clock()

    def remove(self, job: str) -> None:
        """Stop fetching a job's files; `.part` stays, to be continued."""
        for download in [d for d in self._queue if d.job == job]:
            self._end(download)

    def restart(self) -> None:
        """The connection is new: ask again from where the disk is."""
        for download in self._queue:
            download.transfer = ""
        self._moved = self._clock()

    def step(self) -> bool:
        """Open, hash or ask for the head; False if there is nothing to do but wait."""
        if not self._queue:
            return False
        head = self._queue[0]
        try:
            if head.file is None:
                head.open()
                return True
            if head.hashed < head.old:
                head.hash_some()
                return True
        except OSError as error:
            self._fail(head, _local_error(error, head))
            return True
        if head.transfer or not self._link.clear or self._clock() < self._paused_until:
            return False
        request = ArtifactGet(job=head.job, name=head.name, offset=head.hashed)
        head.transfer, head.size, head.ungranted = request.mid, -1, 0
        self._moved = self._clock()
        self._link.send(request)
        return True

    def take(self, message: Message) -> bool:
        """Handle a message if it is about the file that is being fetched."""
        head = self._queue[0] if self._queue else None
        if head is None or not head.transfer or message.re != head.transfer:
            return False
        self._moved = self._clock()
        try:
            match message:
                case ArtifactBegin():
                    self._begin(head, message)
                case ArtifactChunk():
                    self._chunk(head, message)
                case Error() if message.error.code == "BAD_FIELD" and head.hashed:
                    self._again(head, "it is longer than the server's")
                case Error() if message.error.code == "RATE":
                    head.transfer = ""
                    self._paused_until = self._clock() + limits.PAUSE_SECONDS
                case Error():
                    self._fail(head, message.error)
                case _:
                    return False
        except OSError as error:
            self._fail(head, _local_error(error, head))
        return True

    def _begin(self, head: Download, begin: ArtifactBegin) -> None:
        head.size, head.sha256 = begin.size, begin.sha256
        if begin.offset != head.hashed:
            # The server starts elsewhere only where it cannot continue: the file is another one now.
            head.empty()
            if begin.offset:
                self._again(head, "it does not begin where it was asked to")
                return
        if shutil.disk_usage(head.target.parent).free < begin.size - head.hashed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if head.hashed >= head.size:
            self._complete(head)

    def _chunk(self, head: Download, chunk: ArtifactChunk) -> None:
        if chunk.offset != head.hashed or head.hashed + chunk.data.nbytes > head.size:
            self._again(head, "its pieces do not fit together")
            return
        head.write(chunk.data)
        head.ungranted += chunk.data.nbytes
        if head.hashed == head.size:
            self._complete(head)
        elif head.ungranted >= limits.GRANT_BYTES:
            self._link.send(Credit(transfer=head.transfer, size=head.ungranted))
            head.ungranted = 0

    def _complete(self, head: Download) -> None:
        if head.hashed != head.size or head.digest.hexdigest() != head.sha256:
            self._again(head, "its checksum is wrong")
            return
        head.finish()
        self._link.send(ArtifactAck(job=head.job, name=head.name, sha256=head.sha256))
        self._queue.remove(head)
        self._emit(Fetched(head.job, head.name, head.target))

    def _again(self, head: Download, problem: str) -> None:
        """Once more from nothing; the second time is the last."""
        head.damaged += 1
        self._link.send(TransferStop(transfer=head.transfer))
        head.transfer = ""
        head.empty()
        if head.damaged > 1:
            self._fail(head, explain("CORRUPT", problem=problem))

    def _fail(self, download: Download, error: ErrorInfo) -> None:
        self._end(download)
        self._emit(FetchFailed(download.job, download.name, error))

    def _end(self, download: Download) -> None:
        if download.transfer:
            self._link.send(TransferStop(transfer=download.transfer))
        download.close()
        self._queue.remove(download)
        self._moved = self._clock()

    def tell_progress(self) -> None:
        """At most one event a call, and only when something has moved."""
        for head in self._queue[:1]:
            if head.size >= 0 and head.hashed != head.told:
                head.told = head.hashed
                self._emit(FetchProgress(head.job, head.name, head.hashed, head.size))

    def check_stall(self, seconds: float) -> None:
        """A server that answers pings but sends nothing of the file is not one to wait for."""
        waiting = bool(self._queue) and bool(self._queue[0].transfer) and self._link.state == "ready"
        if waiting and self._clock() - self._moved > seconds:
            self._moved = self._clock()
            self._link.drop(explain("LOST"))

    def close(self) -> None:
        for download in self._queue:
            download.close()
        self._queue.clear()


def _local_error(error: OSError, download: Download) -> ErrorInfo:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        rest = max(download.size - download.hashed, 0) / limits.MIB
        return explain("DISK_FULL_LOCAL", problem=f"{download.name} needs {rest:.0f} MB more")
    return explain("FILE_LOCAL", problem=f"{download.target}: {error.strerror or error}")
