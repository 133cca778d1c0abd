"""Results on their way out: read in chunks under the client's credit, and hashed again on the way."""

from __future__ import annotations

import hashlib
from pathlib import Path

from vitruvian.service.files import StoredFile
from vitruvian_protocol import limits

_SKIP_BYTES = 4 * limits.MIB
"""Of a part that the client has already: hashed at most so much a turn, so that nobody is kept waiting."""


class Damaged(Exception):
    """The file is not what was published."""


class Download:
    """One transfer of one artifact.

    The last chunk is handed out only once the hash of the whole file is right, so a damaged file never
    arrives whole.

    Args:
        most: bytes of a chunk.

    Raises:
        Damaged: the file is gone or has another size.
    """

    def __init__(self, path: Path, file: StoredFile, offset: int, credit: int, most: int) -> None:
        self.file = file
        self._most = most
        self.offset = offset
        self.credit = credit
        self._hash = hashlib.sha256()
        self._hashed = 0
        self._ready: tuple[int, bytes] | None = None
        try:
            self._stream = path.open("rb", buffering=0)
        except OSError as error:
            raise Damaged(f"{file.name} cannot be read") from error
        if self._stream.seek(0, 2) != file.size:
            self._stream.close()
            raise Damaged(f"{file.name} has another size")
        self._stream.seek(0)

    @property
    def finished(self) -> bool:
        """Whether everything was sent."""
        return self.offset >= self.file.size and self._ready is None

    @property
    def can_go_on(self) -> bool:
        """Whether there is something to do without new credit."""
        return not self.finished and (
            self._ready is not None or self.credit > 0 or self._hashed < self.offset
        )

    def next_chunk(self) -> tuple[int, bytes] | None:
        """The next bytes and their offset, the same ones until they were `sent`; None where credit is used
        up, or the client's own part is still being hashed.

        Raises:
            Damaged: the hash of the whole file is not the published one.
        """
        if self._ready is None:
            self._ready = self._read()
        return self._ready

    def sent(self) -> None:
        """The chunk is on its way."""
        self._ready = None

    def close(self) -> None:
        self._stream.close()

    def _read(self) -> tuple[int, bytes] | None:
        if self._hashed < self.offset:
            self._take(min(_SKIP_BYTES, self.offset - self._hashed))
            return None
        size = min(self._most, self.credit, self.file.size - self.offset)
        if size <= 0:
            return None
        data = self._take(size)
        at, self.offset, self.credit = self.offset, self.offset + size, self.credit - size
        if self.offset == self.file.size and self._hash.hexdigest() != self.file.sha256:
            raise Damaged(f"{self.file.name} has another hash")
        return at, data

    def _take(self, size: int) -> bytes:
        try:
            data = self._stream.read(size)
        except OSError as error:
            raise Damaged(f"{self.file.name} cannot be read") from error
        if len(data) != size:
            raise Damaged(f"{self.file.name} ends too early")
        self._hash.update(data)
        self._hashed += size
        return data
