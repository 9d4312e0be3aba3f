"""What a run was made on: recorded in every bundle."""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from diger.errors import DigerError


def pick_device(name: str) -> torch.device:
    """ "auto" takes a GPU where there is one; anything else is a torch device name."""
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


@functools.cache
def code_version() -> str:
    """The package's version, the commit where it runs from a checkout, and a digest of its code.

    The digest tells apart what version and commit do not: copies without git, and changes that
    were not committed. It is taken once a process, of the files as they are then.
    """
    try:
        number = version("diger-studio")
    except PackageNotFoundError:
        number = "0.1.0"
    package = Path(__file__).resolve().parents[1]
    commit = _commit(package.parent)
    return f"{number}+{f'{commit}.' if commit else ''}src.{code_digest(package)}"


def code_digest(package: Path) -> str:
    """8 hex digits over the modules in `package` and the recipes that come along."""
    digest = hashlib.sha256()
    files = {*package.rglob("*.py"), *(package / "recipes").glob("*.toml")}
    for name, path in sorted((path.relative_to(package).as_posix(), path) for path in files):
        try:
            data = path.read_bytes()
        except OSError:
            continue  # an editor's lock or a dangling link, which no run can have used
        digest.update(f"{name}\n{len(data)}\n".encode())
        digest.update(data)
    return digest.hexdigest()[:8]


def _commit(root: Path) -> str:
    """The commit checked out in `root`; nothing where it is no checkout."""
    if not (root / ".git").exists():
        return ""
    try:
        return subprocess.run(
            ["git", "rev-parse", "--short=12", "HEAD"],
            cwd=root,
            capture_output=True,
            text=True,
            timeout=5,
            check=True,
            env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"},
        ).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return ""


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()
