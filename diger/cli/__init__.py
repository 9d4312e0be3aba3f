"""`python -m diger`: thin commands over the library.

A `DigerError` is printed as one line and exits with status 2, so that scripts can rely on it and
nobody sees a stack trace for a typo. Commands import what they need when they run, so that none
waits for another's pandas or torch.
"""

from __future__ import annotations

import importlib
import sys

import typer

from diger.errors import Busy, DigerError, Stopped
from diger.text import printable

# Where each command lives: a function of its name, or of the name behind the colon.
COMMANDS = {
    "download": "prepare",
    "prepare": "prepare",
    "embed": "prepare",
    "train": "train",
    "study": "study",
    "evaluate": "evaluate",
    "recommend": "recommend",
    "show": "recommend",
    "sids": "recommend",
    "bench": "evaluate",
    "latency": "evaluate",
    "publish": "hub",
    "pull": "hub",
    "list": "hub:list_bundles",
    "diff": "hub",
    "collect": "hub",
    "deploy": "deploy",
}

app = typer.Typer(
    name="diger",
    help="Differentiable semantic IDs for generative recommendation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _name, _place in COMMANDS.items():
    _module, _, _function = _place.partition(":")
    _command = getattr(importlib.import_module(f"diger.cli.{_module}"), _function or _name)
    app.command(_name)(_command)
app.add_typer(
    importlib.import_module("diger.cli.prepare").convert_app,
    name="convert",
    help="Bring DIGER's released checkpoints in.",
)


def main() -> None:
    """Run the command line; exit 0 when all went well, 2 on bad input, 130 on Ctrl-C.

    3 says that another process is at it.
    """
    try:
        app()
    except DigerError as error:
        # The message may carry text from data.
        stopped = isinstance(error, Stopped)
        print(f"{'' if stopped else 'error: '}{printable(error)}", file=sys.stderr)
        sys.exit(130 if stopped else 3 if isinstance(error, Busy) else 2)
    except OSError as error:  # a full disk, a folder that may not be written to
        at = f"{error.filename}: " if error.filename else ""
        print(f"error: {printable(at)}{printable(error.strerror or error)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
