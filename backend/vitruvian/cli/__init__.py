"""The command line. Commands import what they need when they run, so that `--help` is quick."""

from vitruvian.cli.app import main as main
from vitruvian.cli.app import run as run
