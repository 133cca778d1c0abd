"""Every error code of the wire, with what the artist reads, the remedy, and whether trying again can help."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

_GAP = re.compile(r"\{(path|problem|got|limit)\}")
Retry = Literal["no", "after_fix", "later", "auto", "once"]
"""`auto`: tried again without being asked. `once`: worth one more try. `later`: when the server is free."""


@dataclass(frozen=True)
class ErrorText:
    """What an artist is told. `{problem}` and `{got}`, `{limit}`, `{path}` are filled in by `explain`."""

    sentence: str
    remedy: str
    retry: Retry


class ProtocolError(Exception):
    """Something wrong with a message, a scene or settings, told by code and place.

    Args:
        code: a key of `ERRORS`, or one followed by `:` and a finer name (`BAD_SCENE:NOT_FINITE`).
        path: the field, `$` being the whole (`$.cameras[2].K`).
        problem: what is wrong, in words that follow the field ("is not finite").
        got: the value found, shortened for reading.
        limit: the bound that was passed.

    `mid`, `t` and `job` are set by the codec where the message could be made out, so that it can be answered.
    """

    def __init__(self, code: str, path: str, problem: str, got: object = None, limit: object = None) -> None:
        self.code = code
        self.path = path
        self.problem = problem
        self.got = None if got is None else short(got)
        self.limit = None if limit is None else short(limit)
        self.mid = self.t = self.job = ""
        found = "" if self.got is None else f" = {self.got}"
        bound = "" if self.limit is None else f" (limit {self.limit})"
        super().__init__(f"{code} {path}{found}: {problem}{bound}")


def short(value: object, limit: int = 80) -> str:
    """One printable line for any value; a long one is cut."""
    text = " ".join(str(value).split())
    text = "".join(c if c.isprintable() else "?" for c in text)
    return text if len(text) <= limit else text[: limit - 3] + "..."


ERRORS: dict[str, ErrorText] = {
    # the connection
    "AUTH": ErrorText(
        "This computer is not on the server's list",
        "Send your public key to the server's administrator, who adds it with `vitruvian keys allow`",
        "no",
    ),
    "SERVER_KEY": ErrorText(
        "The server's key differs from the saved one, or its login service is down",
        "Ask the administrator for the server's public key and compare",
        "no",
    ),
    "NOT_OURS": ErrorText(
        "That address is not a Vitruvian server, or encryption is set up on one side only",
        "Check address, port and keys",
        "no",
    ),
    "BAD_KEY": ErrorText(
        "A key cannot be used: {path} {problem}", "Copy it again, all 40 characters", "after_fix"
    ),
    "UNREACHABLE": ErrorText(
        "No server answers at {got}", "Start the backend, or check address and port", "auto"
    ),
    "NO_SOCKET": ErrorText(
        "No connection can be opened here: {problem}",
        "Close what else this program has open, or raise its limit of open files (`ulimit -n`); it is tried "
        "again by itself",
        "auto",
    ),
    "LOST": ErrorText("The connection is lost; the job continues", "Reconnecting by itself", "auto"),
    "WIRE_VERSION": ErrorText(
        "Add-on and server speak different versions of the protocol: {problem}",
        "Update the older of the two",
        "no",
    ),
    "UNSUPPORTED": ErrorText("The server does not know this request", "Update the server", "no"),
    "NO_HELLO": ErrorText("The server expects a greeting first", "Connecting again by itself", "auto"),
    "SESSIONS_FULL": ErrorText(
        "The server has too many connections", "Close Blender windows that are not in use, or wait", "later"
    ),
    "RATE": ErrorText("Too many requests in a short time", "Wait a moment", "later"),
    # what was sent
    "BAD_FRAME": ErrorText(
        "A message was damaged or not made by this protocol: {problem}", "Connecting again by itself", "auto"
    ),
    "BAD_FIELD": ErrorText("A message was wrong at {path}: {problem}", "Update add-on and server", "no"),
    "BAD_SCENE": ErrorText(
        "The scene cannot be used: {path} {problem}", "Repair the mesh or camera", "after_fix"
    ),
    "BAD_SCENE:EMPTY": ErrorText(
        "The mesh {problem}", "Choose a body mesh with at least one face", "after_fix"
    ),
    "BAD_SCENE:NOT_FINITE": ErrorText(
        "The scene has invalid numbers: {path} {problem}",
        "Remove the broken vertices (Mesh > Clean Up), or reset the camera",
        "after_fix",
    ),
    "BAD_SCENE:INDEX": ErrorText(
        "The mesh refers to something that is not there: {path} {problem}",
        "Repair the mesh (Mesh > Clean Up), or import it again",
        "after_fix",
    ),
    "BAD_SCENE:SIZE": ErrorText(
        "The body has an implausible size: {problem}",
        "Scale it to metres and apply the scale; delete stray geometry",
        "after_fix",
    ),
    "BAD_SCENE:DEGENERATE": ErrorText(
        "The mesh has no surface: {problem}", "Choose a body mesh with volume", "after_fix"
    ),
    "BAD_SCENE:SHAPE": ErrorText(
        "An array does not fit: {path} {problem}", "Export the scene again", "after_fix"
    ),
    "BAD_SCENE:DTYPE": ErrorText("An array has a wrong type: {path} {problem}", "Update the add-on", "no"),
    "BAD_SCENE:UV": ErrorText("The UV map cannot be used: {problem}", "Unwrap the body again", "after_fix"),
    "BAD_SCENE:RIG": ErrorText(
        "The skeleton's data cannot be used: {path} {problem}",
        "Normalise the weights, or send the body without its rig",
        "after_fix",
    ),
    "BAD_SCENE:CAMERA": ErrorText(
        "A camera cannot be used: {path} {problem}",
        "Reset that camera, or use the add-on's camera rig",
        "after_fix",
    ),
    "BAD_SCENE:NAME": ErrorText("A name cannot be used: {path} {problem}", "Rename it", "after_fix"),
    "BAD_SETTINGS": ErrorText("A setting cannot be used: {path} {problem}", "Change it", "after_fix"),
    "BAD_REQUEST": ErrorText("{problem}", "Change the request", "after_fix"),
    "TOO_LARGE": ErrorText(
        "Too large: {path} {problem} (found {got}, limit {limit})",
        "Reduce it, for example by Decimate",
        "after_fix",
    ),
    "SPEC_HASH": ErrorText("The request was damaged on its way", "Sending again by itself", "auto"),
    "BLOB_MISSING": ErrorText("The scene did not reach the server", "Sending again by itself", "auto"),
    "ID_CONFLICT": ErrorText(
        "A different job with this number exists already", "Generate again; a new number is used", "no"
    ),
    # the server's state
    "QUEUE_FULL": ErrorText("The server is busy: {problem}; nothing was lost", "Try again later", "later"),
    "QUOTA": ErrorText("You have too many jobs queued: {problem}", "Wait for one, or cancel one", "later"),
    "DISK_FULL_SERVER": ErrorText(
        "The server's disk is full; accepted jobs are kept", "Ask the administrator to make room", "later"
    ),
    "DISK_FULL_LOCAL": ErrorText(
        "Your disk is full: {problem}", "Make room, then fetch the result again", "later"
    ),
    "FILE_LOCAL": ErrorText(
        "A result cannot be written: {problem}",
        "Check the folder in the preferences, then fetch again",
        "once",
    ),
    "SHUTTING_DOWN": ErrorText("The server is stopping; the job is kept", "Reconnecting by itself", "auto"),
    # the job
    "UNKNOWN_JOB": ErrorText("The server does not know this job", "Generate again", "no"),
    "UNKNOWN_ARTIFACT": ErrorText("The server does not have this file any more", "Generate again", "no"),
    "OUT_OF_VRAM": ErrorText(
        "The job needs more graphics memory than the card has: {problem}",
        "Choose a smaller texture or fewer views, or give memory back in Blender",
        "after_fix",
    ),
    "WORKER_LOST": ErrorText(
        "The worker process stopped: {problem}", "It is started again by itself", "auto"
    ),
    "SCENE_DAMAGED": ErrorText(
        "The scene was damaged on the server's disk",
        "Generate again, which sends it anew; if that happens twice, the server's disk needs a look",
        "once",
    ),
    "TIME_LIMIT": ErrorText(
        "The job took longer than the server allows: {problem}", "Use fewer steps or views", "after_fix"
    ),
    "CORRUPT": ErrorText("A download was damaged: {problem}", "Fetching again by itself", "auto"),
    "INTERNAL": ErrorText("Unexpected error; report id {got}", "Try once more, then send the report", "once"),
}


@dataclass(frozen=True)
class ErrorInfo:
    """An error as it travels and as a panel shows it: complete without a look into `ERRORS`."""

    code: str
    sentence: str
    remedy: str
    retry: Retry
    path: str = ""
    got: str = ""
    limit: str = ""
    error_id: str = ""
    """What support finds in the server's log; no traceback ever travels."""


def text_of(code: str) -> ErrorText:
    """The text of a code: its finer name first, then the part before the colon, then INTERNAL's."""
    return ERRORS.get(code) or ERRORS.get(code.partition(":")[0]) or ERRORS["INTERNAL"]


def explain(
    code: str, path: str = "", problem: str = "", got: object = None, limit: object = None, error_id: str = ""
) -> ErrorInfo:
    """The artist's sentence and remedy for an error, ready to travel."""
    text = text_of(code)
    found, bound = ("" if value is None else short(value) for value in (got, limit))
    values = {"path": path, "problem": problem, "got": found or error_id, "limit": bound}
    # In one go and not by str.format: the values come from outside, and none is ever read as a template.
    sentence = _GAP.sub(lambda gap: short(values[gap[1]], 300), text.sentence)
    sentence = " ".join(sentence.split())
    sentence = sentence[:1].upper() + sentence[1:]
    return ErrorInfo(code, sentence, text.remedy, text.retry, path, found, bound, error_id)


def info_of(error: ProtocolError) -> ErrorInfo:
    """A `ProtocolError` as it travels."""
    return explain(error.code, error.path, error.problem, error.got, error.limit)
