"""`vitruvian submit`: what `vitruvian generate` makes, made by a server."""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitruvian.cli import generate as g
from vitruvian.cli.connection import HERE, Keys, Server, connected, told
from vitruvian.core.errors import Cancelled, UserError
from vitruvian.job import GenerateJob

if TYPE_CHECKING:
    from vitruvian.core.report import Report
    from vitruvian_protocol.client import Client
    from vitruvian_protocol.events import Done, Event
    from vitruvian_protocol.messages import ArtifactInfo
    from vitruvian_protocol.scene import Scene, Settings

_FETCHING = "fetching"


def submit(
    prompt: g.Prompt,
    mesh: g.MeshFile = None,
    body: g.BodyShape = "",
    pose: g.Pose = None,
    negative: g.Negative = "",
    seed: g.Seed = 0,
    guidance: g.Guidance = None,
    reference: g.Reference = True,
    prior: Annotated[
        str,
        typer.Option(
            help="An image model that the server offers, by its name there.", rich_help_panel=g.LOOK
        ),
    ] = "mini",
    method: g.Method = "mvhuman",
    steps: g.Steps = 20,
    size: g.Size = None,
    texture_size: g.TextureSize = 1024,
    cameras: g.Cameras = None,
    extra_views: g.ExtraViews = 0,
    out: g.Out = Path("out/human"),
    server: Server = HERE,
    keys: Keys = None,
    job_id: Annotated[
        str | None,
        typer.Option(
            "--job",
            help="A UUID for this job: the same command with the same one goes on with it.",
            rich_help_panel="Server",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Paint a body from a description, like `generate`, but on a server (`vitruvian serve`).

    The folder is the same that `generate` makes. Ctrl-C cancels the job.
    """
    job = g.job_from(locals())
    job_id = parse_job_id(job_id)

    from vitruvian.cli.progress import progress_report

    with progress_report() as report, connected(server, keys) as client:
        scene, notes = make_scene(job, report)
        from vitruvian.service.convert import settings_of  # brings torch, which `make_scene` needs anyway

        notes += run(client, scene, settings_of(job), job_id, out, report)
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    print(out / "human.glb")


def parse_job_id(text: str | None) -> str | None:
    """A UUID in the form in which it travels.

    Raises:
        UserError: none.
    """
    try:
        return None if text is None else str(uuid.UUID(text))
    except ValueError:
        remedy = "Make one with `uuidgen`, or leave it out"
        raise UserError("job", text, "is not a UUID", remedy) from None


def make_scene(job: GenerateJob, report: Report) -> tuple[Scene, list[str]]:
    """Body and cameras as they travel, and what was found wrong with the mesh.

    Raises:
        UserError: a file that cannot be read, a broken mesh, an unknown shape or pose.
    """
    report("body and cameras", 0, 1)
    from vitruvian.generation import choose_body, choose_rig
    from vitruvian.service.convert import scene_of

    body = choose_body(job)
    scene = scene_of(body, choose_rig(job, body.mesh))
    report("body and cameras", 1, 1)
    return scene, list(body.uv_report)


def run(
    client: Client, scene: Scene, settings: Settings, job_id: str | None, out: Path, report: Report
) -> list[str]:
    """Have a scene painted and its results in `out`; returns the server's warnings.

    Raises:
        UserError: the server refused the job or could not do it.
        Cancelled: `report` was told to stop; the server was told, too.
    """
    from vitruvian.export.folder import fresh_folder
    from vitruvian_protocol.errors import ProtocolError, info_of

    try:
        job = client.submit(scene, settings, job_id)
    except ProtocolError as error:
        raise told("job", error.path, info_of(error)) from error
    waiter = _Waiter(client, job, report)
    done = waiter.until_done()
    with fresh_folder(out) as folder:
        waiter.fetch(done.artifacts, folder)
        name_views(folder)
    return waiter.warnings


class _Waiter:
    """Follows one job and shows how far it is."""

    def __init__(self, client: Client, job: str, report: Report) -> None:
        self._client, self._job, self._report = client, job, report
        self._stage, self._step = "waiting", 0
        self.warnings: list[str] = []

    def until_done(self) -> Done:
        """Raises: UserError, Cancelled: the job ended otherwise."""
        from vitruvian_protocol import events

        done: list[Done] = []

        def take(event: Event) -> None:
            match event:
                case events.Rejected() | events.Failed():
                    raise told("job", self._job, event.error)
                case events.Cancelled():
                    raise Cancelled
                case events.Progress():
                    self._show(event.stage, round(100 * event.fraction))
                case events.Warned(job=self._job):
                    self.warnings.append(event.text)
                case events.Done():
                    self._show("done", 100)
                    done.append(event)
                case _:
                    pass

        self._poll(take, lambda: not done)
        return done[0]

    def fetch(self, artifacts: tuple[ArtifactInfo, ...], folder: Path) -> None:
        """Pull all results into `folder`.

        Raises:
            UserError: one cannot be had.
        """
        from vitruvian_protocol import events

        missing = {artifact.name for artifact in artifacts}
        for name in sorted(missing):
            self._client.fetch(self._job, name, folder / name)

        def take(event: Event) -> None:
            if isinstance(event, events.FetchFailed):
                raise told("job", self._job, event.error)
            if isinstance(event, events.Fetched):
                missing.discard(event.name)
                self._report(_FETCHING, len(artifacts) - len(missing), len(artifacts))

        self._poll(take, lambda: bool(missing))

    def _show(self, stage: str, percent: int) -> None:
        self._stage, self._step = stage, percent
        self._report("server", percent, 100)

    def _poll(self, take: Callable[[Event], None], more: Callable[[], bool]) -> None:
        from vitruvian_protocol import events

        while more():
            for event in self._client.poll():
                if isinstance(event, events.Lost) and self._client.state == "refused":
                    raise told("server", self._job, event.error)
                take(event)
            self._stop_if_asked()
            self._client.wait(0.1)

    def _stop_if_asked(self) -> None:
        """`report` raises after Ctrl-C: then the job is cancelled, and the server's word awaited."""
        try:
            self._report("server", self._step, 100)
        except Cancelled:
            from vitruvian_protocol import events

            self._client.cancel(self._job)
            ends = (*events.TERMINAL, events.CancelAcked)
            while not any(isinstance(event, ends) for event in self._client.poll()):
                self._client.wait(0.1)
            raise


def name_views(folder: Path) -> None:
    """view_000.png -> views/NAME.png, as `generate` has them."""
    from vitruvian.export.folder import view_file_name

    cameras = json.loads((folder / "report.json").read_text(encoding="utf-8"))["cameras"]
    (folder / "views").mkdir()
    for index, camera in enumerate(cameras):
        source = folder / f"view_{index:03d}.png"
        if not source.is_file():
            raise UserError("job", source.name, "is missing in the server's results", "Update the server")
        source.rename(folder / "views" / f"{view_file_name(camera['name'])}.png")
