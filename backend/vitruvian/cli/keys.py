"""`vitruvian keys`: who may use a server that others can reach."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitruvian.core.errors import UserError

if TYPE_CHECKING:
    from vitruvian.service.curve import AllowList

_FOLDER = typer.Option("--keys", help="The server's folder of keys.")
_Folder = Annotated[Path, _FOLDER]

keys = typer.Typer(name="keys", help="Keys for a server that other machines can reach.")


@keys.command()
def server(folder: _Folder = Path("keys")) -> None:
    """Make the server's own keys; prints the public one, which clients need."""
    from vitruvian.service.curve import SERVER_FILE, make_key_file

    print(make_key_file(folder / SERVER_FILE))


@keys.command()
def client(
    file: Annotated[Path, typer.Argument(help="File to make. Keep it to yourself.")],
    server: Annotated[str, typer.Option(help="The server's public key.")],
) -> None:
    """Make keys for one person on one machine; prints the public one, which the server has to allow."""
    from vitruvian.service.curve import check_key, make_key_file

    check_key("server", server)
    print(make_key_file(file, server=server))


@keys.command()
def allow(
    key: Annotated[str, typer.Argument(help="The client's public key.")],
    name: Annotated[str, typer.Argument(help="Whose it is, for example alex.laptop.")],
    folder: _Folder = Path("keys"),
) -> None:
    """Let a client in, also while the server runs."""
    _list(folder).allow(key, name)


@keys.command()
def revoke(
    name: Annotated[str, typer.Argument(help="The name given with `allow`.")],
    folder: _Folder = Path("keys"),
) -> None:
    """Shut a client out, also while the server runs."""
    _list(folder).revoke(name)


@keys.command("list")
def show(folder: _Folder = Path("keys")) -> None:
    """Who is let in."""
    for key, name in sorted(_list(folder).names().items(), key=lambda pair: pair[1]):
        print(f"{name:<24} {key}")


def _list(folder: Path) -> AllowList:
    """Raises: UserError where the server has no keys: then it is the wrong folder, or comes too early."""
    from vitruvian.service.curve import ALLOWED_FILE, SERVER_FILE, AllowList

    if not (folder / SERVER_FILE).is_file():
        remedy = "Give the right folder with --keys, or make them with `vitruvian keys server`"
        raise UserError("keys", str(folder), "has no server's keys", remedy)
    return AllowList(folder / ALLOWED_FILE)
