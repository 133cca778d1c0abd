"""What each failure of the hub, the connection or the disk means for the user."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager

from vitruvian.core.errors import UserError


@contextmanager
def explained(repository: str) -> Iterator[None]:
    """Turns whatever the hub's library raises inside into a sentence that says what to do.

    Raises:
        UserError: instead of the library's errors, and of those of the disk.
    """
    from huggingface_hub.errors import HfHubHTTPError

    # The library lets errors of its HTTP package through: a base of its own errors, or OSError.
    # A ValueError is a name that cannot be one, or an answer that is no hub's.
    try:
        yield
    except (*HfHubHTTPError.__bases__, OSError, ValueError) as error:  # pyright: ignore[reportGeneralTypeIssues]
        problem, remedy = _explanation(repository, error)
        raise UserError("prior", repository, problem, remedy) from error


def _explanation(repository: str, error: Exception) -> tuple[str, str]:
    from huggingface_hub import constants, errors

    detail = " ".join(str(error).split())[:160]
    status = getattr(getattr(error, "response", None), "status_code", None)
    match error:
        case errors.GatedRepoError():
            return "needs its licence accepted", (
                f"Open {constants.ENDPOINT}/{repository}, accept it there, then log in with `hf auth login`"
            )
        case errors.RepositoryNotFoundError() | errors.HFValidationError():
            return "is not on the hub, or is private", (
                "Check the spelling, give a folder, or log in with `hf auth login` if it is yours"
            )
        case errors.OfflineModeIsEnabled():
            return "is not on this disk, and HF_HUB_OFFLINE forbids asking the hub", (
                "Unset HF_HUB_OFFLINE and connect once, or use mini"
            )
        case errors.HfHubHTTPError() if status in (401, 403):
            return f"may not be read with your account (HTTP {status})", (
                "Log in with `hf auth login` and a token that may read it"
            )
        case errors.HfHubHTTPError():
            return f"cannot be had from the hub now (HTTP {status})", "Try again later, or use mini"
        case OSError(errno=errno.ENOSPC):
            return "does not fit on the disk", "Make room, then give the same command again: it goes on"
        case PermissionError():
            return f"cannot be written ({detail})", "Give a folder of your own with --to or HF_HOME"
    return f"cannot be downloaded ({detail})", (
        "Connect to the internet and give the same command again: it goes on where it stopped; or use mini"
    )
