"""Which object is meant, and how it is found again after renames, undo, saving and loading."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from pathlib import Path

import bpy

from . import compat, runtime
from .jobs import Job, Target
from .problems import Problem
from .scene_export import Snapshot


@dataclass
class _Numbers:
    """The numbers given in the open file. Undo takes them out of it: pressing Generate is no undo step."""

    epoch: int = -1
    file_id: str = ""
    owners: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Last known name and session number of the object that has a number."""


_numbers = _Numbers()


def chosen_body(context: bpy.types.Context) -> bpy.types.Object | None:
    """The body that the panel is about: the one picked, else the active mesh."""
    settings = context.scene.vitruvian
    if settings.body is not None and settings.body.name in context.scene.objects:
        return settings.body
    active = context.view_layer.objects.active
    return active if active is not None and active.type == "MESH" else None


def need_body(context: bpy.types.Context) -> bpy.types.Object:
    """The chosen body.

    Raises:
        Problem: none is chosen, or it belongs to another file.
    """
    body = chosen_body(context)
    if body is None:
        raise Problem("BAD_SCENE:EMPTY", "No body is chosen", "Select a mesh, or add the free body")
    if body.library is not None:
        raise Problem(
            "LINKED",
            f'"{body.name}" is linked from another file and cannot get a material here',
            "Make it local or a library override (Object > Relations)",
        )
    return body


def need_own_mesh(context: bpy.types.Context) -> bpy.types.Object:
    """The chosen body, for what changes its mesh.

    Raises:
        Problem: as `need_body`, or the mesh belongs to another file.
    """
    body = need_body(context)
    if body.data.library is not None:
        raise Problem(
            "LINKED",
            f'The mesh of "{body.name}" is linked from another file',
            "Repair it there, or make the mesh local (Object > Relations)",
        )
    return body


def file_id() -> str:
    """The open file's number; "" before its first job."""
    return next((scene.vitruvian.file_id for scene in bpy.data.scenes if scene.vitruvian.file_id), "")


def target_of(body: bpy.types.Object, snapshot: Snapshot) -> Target:
    """Give body and file their numbers, where they have none, and write down whose result it will be."""
    identity = ensure_file_id()
    uid = body.vitruvian.uid
    if not uid or _is_copy(body, uid):
        body.vitruvian.uid = uid = str(uuid.uuid4())
    name = Path(bpy.data.filepath).name or "unsaved file"
    return Target(identity, name, uid, body.name, snapshot.layout.uv_map, snapshot.layout.sha256)


def remember(job: Job, body: bpy.types.Object) -> None:
    """What finds the body even if undo takes its number away again."""
    job.session_uid, job.epoch = compat.session_uid(body), runtime.epoch
    note_numbers()


def note_numbers() -> None:
    """Write down which object has which number now, before undo or redo takes it away."""
    global _numbers
    if _numbers.epoch != runtime.epoch:
        _numbers = _Numbers(runtime.epoch)
    _numbers.file_id = file_id() or _numbers.file_id
    for item in bpy.data.objects:
        uid = item.vitruvian.uid
        if not uid:
            continue
        known = bpy.data.objects.get(_numbers.owners.get(uid, ("", 0))[0])
        if known is None or known.vitruvian.uid != uid:  # else the item is its copy
            _numbers.owners[uid] = (item.name, compat.session_uid(item))


def give_numbers_back() -> None:
    """After undo or redo: file and bodies have the numbers that their jobs know them by.

    Before 4.2 an object can only be known by its name.
    """
    if _numbers.epoch != runtime.epoch:
        return
    if _numbers.file_id and not file_id():
        _set_file_id(_numbers.file_id)
    present = {item.vitruvian.uid for item in bpy.data.objects}
    for uid, (name, session_uid) in _numbers.owners.items():
        if uid in present:
            continue
        if session_uid:
            same = (item for item in bpy.data.objects if compat.session_uid(item) == session_uid)
            item = next(same, None)
        else:
            item = bpy.data.objects.get(name)
        if item is None or item.type != "MESH":
            continue
        owner = _numbers.owners.get(item.vitruvian.uid)
        if not item.vitruvian.uid or (owner is not None and owner[0] != item.name):
            item.vitruvian.uid = uid


def may_be_here(job: Job) -> bool:
    """Whether the open file is the job's: quick, and no promise that its body is still there."""
    return job.target.file_id == file_id() or (job.epoch == runtime.epoch and job.session_uid != 0)


class Finder:
    """Which bodies the open file has, looked up once for many jobs; good as long as nothing changes."""

    def __init__(self) -> None:
        self._file_id = file_id()
        self._by_uid: dict[str, list[bpy.types.Object]] = {}
        self._by_session: dict[int, bpy.types.Object] = {}
        for item in bpy.data.objects:
            if item.type == "MESH":
                self._by_session[compat.session_uid(item)] = item
                if item.vitruvian.uid:
                    self._by_uid.setdefault(item.vitruvian.uid, []).append(item)

    def find(self, job: Job) -> bpy.types.Object | None:
        """The job's body; None when it was deleted or the job belongs to another file."""
        twins = self._by_uid.get(job.target.object_uid, [])
        if twins and job.target.file_id == self._file_id:
            return next((item for item in twins if item.name == job.target.object_name), twins[0])
        if job.session_uid and job.epoch == runtime.epoch:
            return self._by_session.get(job.session_uid)
        return None


def find_body(job: Job) -> bpy.types.Object | None:
    """As `Finder.find`, for one job."""
    return Finder().find(job)


def _is_copy(body: bpy.types.Object, uid: str) -> bool:
    """Whether another object has the same number with a better claim to it (a duplicate takes it along)."""
    twins = [item for item in bpy.data.objects if item.vitruvian.uid == uid and item != body]
    if not twins:
        return False
    owners = {
        job.target.object_name for job in runtime.session().jobs.values() if job.target.object_uid == uid
    }
    return body.name not in owners or any(item.name in owners for item in twins)


def ensure_file_id() -> str:
    """The open file's number, given to it now where it has none."""
    identity = file_id() or str(uuid.uuid4())
    _set_file_id(identity)
    return identity


def _set_file_id(identity: str) -> None:
    for scene in bpy.data.scenes:
        if scene.vitruvian.file_id != identity:
            scene.vitruvian.file_id = identity
