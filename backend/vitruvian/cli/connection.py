"""What commands that talk to a server share."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from vitruvian.core.errors import UserError

if TYPE_CHECKING:
    from vitruvian_protocol.client import Client
    from vitruvian_protocol.errors import ErrorInfo

Server = Annotated[str, typer.Option(help="The server's address.", rich_help_panel="Server")]
Keys = Annotated[
    Path | None,
    typer.Option(help="File made by `vitruvian keys client`.", rich_help_panel="Server", show_default=False),
]
HERE = "tcp://127.0.0.1:29517"
CONNECT_SECONDS = 15.0


@contextmanager
def connected(server: str, keys: Path | None) -> Iterator[Client]:
    """A client that the server has greeted.

    Raises:
        UserError: no server there, or it does not let us in.
    """
    import vitruvian
    from vitruvian.service.allocation import keep_freed_blocks
    from vitruvian.service.config import check_address
    from vitruvian.service.curve import check_key, read_key_file
    from vitruvian_protocol import events
    from vitruvian_protocol.client import Client, ClientKeys

    check_address(server, "server")
    keep_freed_blocks()
    pair = None
    if keys is not None:
        data = read_key_file(keys)
        check_key("server", data.get("server", ""))
        pair = ClientKeys(data["public"], data["secret"], data["server"])
    client = Client(server, keys=pair, about={"program": "vitruvian", "version": vitruvian.__version__})
    try:
        deadline = time.monotonic() + CONNECT_SECONDS
        last: ErrorInfo | None = None
        while client.state != "ready":
            for event in client.poll():
                last = event.error if isinstance(event, events.Lost) else last
            if client.state == "refused" or (client.state != "ready" and time.monotonic() > deadline):
                raise told("server", server, last)
            client.wait(0.1)
        yield client
    finally:
        client.close()


def told(field: str, value: object, error: ErrorInfo | None) -> UserError:
    """An error of the wire as one of the command line."""
    if error is None:
        return UserError(field, value, "does not answer", "Start it with `vitruvian serve`")
    return UserError(field, value, f"{error.sentence[:1].lower()}{error.sentence[1:]}", error.remedy)
