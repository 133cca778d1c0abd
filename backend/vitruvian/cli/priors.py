"""`vitruvian priors`: which image models there are, what they need, and how they get here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitruvian.core.errors import UserError

if TYPE_CHECKING:
    from vitruvian.diffusion.catalogue import KnownPart
    from vitruvian.diffusion.installed import Listing
    from vitruvian.diffusion.transfer import Place

EXIT_STOPPED = 130

priors = typer.Typer(
    name="priors",
    help="Image models: list, show, download, verify, remove.",
    invoke_without_command=True,
)
_Name = Annotated[str, typer.Argument(help="`sd15`, `sdxl`, or a model of the hub like `owner/model`.")]
_Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]


@priors.callback()
def _default(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        show_all([])


@priors.command("list")
def show_all(
    folders: Annotated[
        list[Path] | None, typer.Argument(help="Folders with models, to list as well.")
    ] = None,
) -> None:
    """Every known image model and every installed one: what it needs, what it lacks, its licence."""
    from vitruvian.cli.priors_text import print_list

    print_list(folders or [])


@priors.command()
def show(
    name: Annotated[str, typer.Argument(help="A known name, a folder, or a model in the hub's cache.")],
) -> None:
    """One image model: its parts, files, sizes and licences."""
    from vitruvian.cli.priors_text import print_one

    print_one(name)


@priors.command()
def download(
    name: _Name,
    to: Annotated[
        Path | None, typer.Option("--to", help="Into this folder instead of the hub's cache.")
    ] = None,
    with_ip_adapter: Annotated[
        bool, typer.Option("--with-ip-adapter", help="Also what a style or identity picture needs.")
    ] = False,
    yes: _Yes = False,
) -> None:
    """Fetch an image model: says first what, how large and under which licence.

    Goes on after an interruption, checks every file, and fetches damaged ones again.
    """
    from vitruvian.cli.priors_text import gigabytes
    from vitruvian.diffusion.hub import listing
    from vitruvian.diffusion.transfer import Place, check_room, fetch

    _refuse_bundled(name)
    jobs = []
    parts = _parts(name, with_ip_adapter)
    if to is not None:
        _check_folder(to.expanduser(), parts[0].repository)
    for part in parts:
        found = listing(part.repository, part.files)
        target = to.expanduser().absolute() / part.folder if to else None
        jobs.append((part, found, target, Place.of(found, target)))
    missing = sum(place.outstanding(found) for _, found, _, place in jobs)
    _announce(name, [(part, found, place) for part, found, _, place in jobs])
    check_room(name, jobs[0][3].root, missing)
    if missing and not yes:
        typer.confirm(f"Fetch {gigabytes(missing)} under these licences?", abort=True)
    try:
        for _, found, target, _ in jobs:
            fetch(found, target)
    except KeyboardInterrupt:
        typer.echo("stopped: what has arrived is kept; the same command goes on from there", err=True)
        raise typer.Exit(EXIT_STOPPED) from None
    print(f"ready: vitruvian generate --prior {to or name}")


@priors.command()
def verify(
    name: Annotated[str, typer.Argument(help="A known name, a folder, or a model in the hub's cache.")],
) -> None:
    """Read every byte of an image model and compare it with the hub's checksums."""
    from vitruvian.diffusion.hub import verify as compare

    _refuse_bundled(name)
    damaged, count, size = [], 0, 0
    for repository, folder in _folders(name):
        checked, wrong = compare(repository, folder)
        count += len(checked.files)
        size += checked.bytes
        damaged += [f"{folder / file.path} {problem}" for file, problem in wrong]
    for line in damaged:
        print(line)
    if damaged:
        again = f"download {name}" if not Path(name).is_dir() else f"download NAME --to {name}"
        raise UserError(
            "prior", name, f"{len(damaged)} of {count} files are damaged", f"Give `vitruvian priors {again}`"
        )
    print(f"{name}: {count} files, {size / 1e9:.2f} GB, every byte as on the hub")


@priors.command()
def remove(
    name: Annotated[str, typer.Argument(help="A known name, a folder, or a model in the hub's cache.")],
    yes: _Yes = False,
) -> None:
    """Delete a downloaded image model; what another one shares with it stays."""
    from vitruvian.cli.priors_text import gigabytes
    from vitruvian.diffusion.shelf import removable, size_of
    from vitruvian.diffusion.shelf import remove as delete

    _refuse_bundled(name)
    paths = removable(name)
    freed = gigabytes(size_of(paths))
    for path in paths:
        print(path)
    if not yes:
        typer.confirm(f"Delete these ({freed})?", abort=True)
    delete(paths)
    print(f"{freed} freed")


def _refuse_bundled(name: str) -> None:
    """Raises UserError: what comes with the package is neither fetched nor deleted."""
    if name == "mini":
        raise UserError("prior", name, "comes with the package", "Use it as it is")


def _parts(name: str, with_ip_adapter: bool) -> list[KnownPart]:
    from vitruvian.diffusion.catalogue import CATALOGUE, KnownPart, Licence, known_prior

    if name.count("/") != 1 or name.strip("/") != name or name.startswith((".", "~")):
        return list(known_prior(name).parts(with_ip_adapter))
    if with_ip_adapter:
        raise UserError("ip-adapter", name, "belongs to known priors", f"Use one of {', '.join(CATALOGUE)}")
    page = f"https://huggingface.co/{name}"
    return [KnownPart(name, "", Licence("see its model card", page), {})]


def _check_folder(folder: Path, repository: str) -> None:
    """Raises UserError: what is at `folder` is no folder, or holds another model."""
    from vitruvian.diffusion.installed import read_record

    if folder.exists() and not folder.is_dir():
        raise UserError("to", str(folder), "is a file", "Give a folder")
    record = read_record(folder)
    foreign = record is None and (folder / "model_index.json").exists()
    if foreign or (record and record.repository != repository):
        other = record.repository if record else "another model"
        raise UserError("to", str(folder), f"holds {other}", "Give a folder of its own")


def _folders(name: str) -> list[tuple[str, Path]]:
    """Repository and folder of all parts of a prior that are on this disk.

    Raises:
        UserError: it is not there, or not whole.
    """
    from vitruvian.diffusion.catalogue import CATALOGUE
    from vitruvian.diffusion.installed import cached_folder, read_record
    from vitruvian.diffusion.shelf import parts_on_disk

    remedy = f"Give `vitruvian priors download {name}`"
    if name in CATALOGUE:
        known = CATALOGUE[name]
        there = parts_on_disk(known)
        absent = [found.part.repository for found in there if not found.whole]
        absent = [repository for repository in absent if repository != known.ip_adapter.repository]
        if absent:
            raise UserError("prior", name, f"is not whole: {', '.join(absent)}", remedy)
        return [(found.part.repository, found.folder) for found in there if found.folder]
    folder = Path(name).expanduser()
    if folder.is_dir():
        below = [folder, *sorted(path for path in folder.iterdir() if path.is_dir())]
        records = [(record.repository, path) for path in below if (record := read_record(path))]
        if not records:
            raise UserError(
                "prior", name, "has no checksums: it was not downloaded by this command", "Nothing to compare"
            )
        return records
    cached = cached_folder(name) if name.count("/") == 1 else None
    if cached is None:
        raise UserError("prior", name, "is not on this disk", remedy)
    return [(name, cached)]


def _announce(name: str, jobs: list[tuple[KnownPart, Listing, Place]]) -> None:
    from vitruvian.cli.priors_text import gigabytes

    print(f"{name} is made of")
    for part, found, place in jobs:
        missing = place.outstanding(found)
        state = "on this disk" if not missing else f"to fetch: {gigabytes(missing)}"
        licence = part.licence if part.parameters else None
        print(f"  {part.repository}: {gigabytes(found.bytes)}, {state}")
        print(f"    licence {licence.name if licence else found.licence or 'see'} ({part.licence.url})")
    print(f"into {jobs[0][2].root if jobs[0][2].blobs is None else 'the cache of the hub'}")
