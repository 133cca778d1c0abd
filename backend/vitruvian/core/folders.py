"""Output folders: what may be written, and what is ours to replace."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from vitruvian.core.errors import UserError


def check_out_folder(out: Path, owner: str = "report.json") -> None:
    """Refuse an output folder that cannot be written, or that holds something which is not ours to replace.

    Args:
        owner: the file by which an earlier result is known.

    Raises:
        UserError: naming the folder and the remedy.
    """
    if out.exists() and not out.is_dir():
        raise UserError("out", str(out), "is a file", "Choose a folder")
    try:
        if out.is_dir() and any(out.iterdir()) and not (out / owner).is_file():
            problem = "holds files that are not from Vitruvian"
            raise UserError("out", str(out), problem, "Choose a new or an empty folder")
        parent = next(p for p in (out.absolute(), *out.absolute().parents) if p.exists())
        # Asking by doing: permission bits say nothing about read-only disks, quotas or the superuser.
        os.rmdir(tempfile.mkdtemp(prefix=".vitruvian-", dir=parent))
    except OSError as error:
        problem = f"cannot be written ({error.strerror or error})"
        raise UserError("out", str(out), problem, "Choose a folder that you may write to") from None
