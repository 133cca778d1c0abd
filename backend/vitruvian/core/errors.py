"""Errors a user can act on. Everything else is a bug and keeps its traceback."""

from __future__ import annotations


class UserError(Exception):
    """Bad input, told in one line: which field, which value, what to do.

    The command line prints it and exits with code 2.
    """

    def __init__(self, field: str, value: object, problem: str, remedy: str) -> None:
        self.field = field
        self.value = value
        self.problem = problem
        self.remedy = remedy
        super().__init__(f"{field} = {_short(value)}: {problem}. {remedy}")


class Cancelled(Exception):
    """Raised by `report` when the user asked to stop; stages let it pass."""


def _short(value: object, limit: int = 80) -> str:
    """One printable line for any value; long ones are cut in the middle."""
    text = " ".join(str(value).split()) if not isinstance(value, str) else repr(value)
    return (
        text
        if len(text) <= limit
        else f"{text[: limit // 2]}...{text[-limit // 2 + 3 :]} ({len(text)} characters)"
    )
