"""`vitruvian`: the commands, and how each kind of failure is told."""

from __future__ import annotations

import errno
import sys
from typing import Annotated

import typer

from vitruvian import __version__
from vitruvian.cli.batch import batch
from vitruvian.cli.bench import bench
from vitruvian.cli.evaluate import evaluate
from vitruvian.cli.generate import generate
from vitruvian.cli.keys import keys
from vitruvian.cli.priors import priors
from vitruvian.cli.serve import serve
from vitruvian.cli.status import status
from vitruvian.cli.submit import submit
from vitruvian.cli.train_prior import train_prior
from vitruvian.core.errors import Cancelled, UserError

EXIT_BAD_INPUT = 2
EXIT_CANCELLED = 130
_REFUSED_BY_THE_SYSTEM = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOSPC, errno.EDQUOT)
"""Of files: the user's to mend, wherever it is noticed. Other errors of the system are faults of ours."""
_FILE_REMEDY = "Check who may read and write it, and the room on its disk"

app = typer.Typer(
    name="vitruvian",
    help="Give a body mesh a skin, clothes and hair from a sentence.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
app.command()(generate)
app.command()(serve)
app.command()(submit)
app.command()(status)
app.command()(batch)
app.add_typer(keys)
app.add_typer(priors)
app.command("train-prior")(train_prior)
app.command()(evaluate)
app.command()(bench)

# typer ships its own copy of click in newer versions and imports the package in older ones; this finds the
# base class of "wrong option", "missing argument" and the like in both.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"vitruvian {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and stop."),
    ] = False,
) -> None:
    pass


def run(arguments: list[str]) -> int:
    """One call of the command line; returns the exit code (0 done, 2 bad input, 130 stopped by the user)."""
    try:
        return app(arguments or ["--help"], standalone_mode=False) or 0
    except UserError as error:
        return _fail(str(error))
    except UsageError as error:
        return _fail(f"{_one_line(error)}{_given(error, arguments)}. See `vitruvian COMMAND --help`")
    except OSError as error:
        if error.errno not in _REFUSED_BY_THE_SYSTEM:
            raise
        file = error.filename or "unknown"
        return _fail(f"file = {file}: cannot be used ({error.strerror}). {_FILE_REMEDY}")
    except (Cancelled, KeyboardInterrupt, typer.Abort):
        print("stopped: nothing was written", file=sys.stderr)
        return EXIT_CANCELLED


def main() -> None:
    sys.exit(run(sys.argv[1:]))


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _one_line(error: Exception) -> str:
    text = error.format_message() if hasattr(error, "format_message") else str(error)  # pyright: ignore
    return " ".join(text.split()).rstrip(".")


def _given(error: Exception, arguments: list[str]) -> str:
    """The value that an option refused, which typer's own message leaves out."""
    for option in getattr(getattr(error, "param", None), "opts", ()):
        for position, argument in enumerate(arguments):
            name, equals, value = argument.partition("=")
            if name == option and (equals or position + 1 < len(arguments)):
                return f" (given: {value if equals else arguments[position + 1]!r})"
    return ""
