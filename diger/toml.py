"""TOML written by people: recipes and studies. What is wrong with it is said in one line."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from diger.errors import DigerError
from diger.text import printable


def read_toml(path: Path, what: str) -> dict[str, Any]:
    """The tables of a TOML file; `what` it is, for messages."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise DigerError(f"cannot read the {what} {printable(path)}: {error}") from None
    return parse_toml(text, str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The tables of a TOML text; a DigerError that begins with `where` if it is none."""
    try:
        tables = tomllib.loads(text)
        json.dumps(tables, default=str)  # a number of thousands of digits cannot be written out
    except RecursionError:
        raise DigerError(f"{where}: nested too deeply; nothing here needs that") from None
    except tomllib.TOMLDecodeError as error:
        raise DigerError(f"{where}: not valid TOML: {printable(error, 200)}") from None
    except ValueError:
        raise DigerError(f"{where}: a number in it is too long; nothing here needs that") from None
    return tables
