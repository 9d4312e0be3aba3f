"""`python -m diger`: thin commands over the library.

One file a command (one for all that concern the Hub); each has a `register(app)` that adds it. A
`DigerError` is printed as one line and exits with status 2, so that scripts can rely on it and
nobody sees a stack trace for a typo.
"""

from __future__ import annotations

import importlib
import sys

import typer

from diger.errors import DigerError, Stopped
from diger.text import printable

COMMANDS = (
    "prepare",
    "embed",
    "train",
    "study",
    "evaluate",
    "recommend",
    "show",
    "sids",
    "bench",
    "latency",
    "convert",
    "hub",
)

app = typer.Typer(
    name="diger",
    help="Differentiable semantic IDs for generative recommendation.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

for _name in COMMANDS:
    importlib.import_module(f"diger.cli.{_name}").register(app)


def main() -> None:
    """Run the command line; exit 0 when all went well, 2 on bad input, 130 on Ctrl-C."""
    try:
        app()
    except DigerError as error:
        # The message may carry text from data.
        stopped = isinstance(error, Stopped)
        print(f"{'' if stopped else 'error: '}{printable(error)}", file=sys.stderr)
        sys.exit(130 if stopped else 2)
    except KeyboardInterrupt:
        sys.exit(130)
