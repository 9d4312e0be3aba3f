"""What a run was made on: recorded in every bundle."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from diger.errors import DigerError


def pick_device(name: str) -> torch.device:
    """ "auto" takes a GPU where there is one; anything else is a torch device name.

    Raises:
        DigerError: no such device here.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.zeros(1, device=device).item()  # "meta", too, fails here: it holds no numbers
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        first_line = str(error).splitlines()[0]
        raise DigerError(
            f"device {name} cannot be used here ({first_line}); use --device cpu"
        ) from None
    return device


def hardware(device: torch.device) -> dict[str, str | int]:
    """Names and versions, for the bundle's config."""
    named = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    return {
        "device": named,
        "cpu": _cpu_name(),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def code_version() -> str:
    """The package's version, with the commit when it runs from a checkout."""
    try:
        number = version("diger-studio")
    except PackageNotFoundError:
        number = "0.1.0"
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return number
    try:
        commit = subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return number
    return f"{number}+{commit}"


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
