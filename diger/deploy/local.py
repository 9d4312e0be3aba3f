"""The Space tried on this machine: its folder installed in a clean environment, started and asked.

It is what the Hub would do but for the container: the same requirements, command and variables.
The environment has no token, no cache of the Hub's client and no path to this installation.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from diger.deploy.folder import Built
from diger.deploy.window import Window
from diger.errors import DigerError
from diger.hub.client import redact
from diger.text import printable

_PATIENCE = 180.0  # seconds from the start to the first answer
# What would let the Space see more of this machine than the Hub gives it.
_OURS = re.compile(
    r"PYTHON|VIRTUAL_ENV|DIGER_|HF_HOME|HF_.*CACHE|HF_.*PATH|.*(TOKEN|SECRET|PASSWORD|KEY)", re.I
)


def check_locally(
    built: Built,
    window: Window,
    secrets: Mapping[str, str],
    *,
    say: Callable[[str], None],
    stay: bool = False,
) -> None:
    """Install, start and ask; DigerError with the last of its log where it does not answer.

    say: told what is going on. stay: keep it running until Ctrl-C.
    """
    with tempfile.TemporaryDirectory(prefix="diger-deploy-") as base:
        environment = _environment(Path(base), {**built.variables, **secrets})
        begun = time.monotonic()
        say("installing in a clean environment: some minutes")
        python = _install(built.folder, Path(base), environment)
        took = f"{time.monotonic() - begun:.0f} s"
        say(f"installed in {took}: {_installed(python, environment)}")
        with _started(built.folder, python, window, environment, Path(base)) as address:
            say(f"answers at {address}, {time.monotonic() - begun:.0f} s after the beginning")
            for line in _run([python, "-c", window.ask, address], built.folder, environment):
                say(line)
            if stay:
                say(f"open {address}; Ctrl-C ends it")
                with contextlib.suppress(KeyboardInterrupt):
                    while True:
                        time.sleep(3600)


def _environment(base: Path, given: Mapping[str, str]) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not _OURS.match(name)}
    return {**kept, "HOME": str(base), "HF_HOME": str(base / "hub"), **given}


def _install(folder: Path, base: Path, environment: Mapping[str, str]) -> str:
    """An environment with the Space's requirements; its Python."""
    home = base / "environment"
    _run([sys.executable, "-m", "venv", str(home)], base, environment)
    python = str(home / ("Scripts" if os.name == "nt" else "bin") / "python")
    for name in ("pre-requirements.txt", "requirements.txt"):
        if (folder / name).is_file():
            _run([python, "-m", "pip", "install", "-q", "-r", name], folder, environment)
    return python


def _installed(python: str, environment: Mapping[str, str]) -> str:
    """How much that is, in words; whether torch is among it."""
    code = (
        "import importlib.metadata as m, pathlib, sys\n"
        "found = {d.name.lower(): d.version for d in m.distributions()}\n"
        "files = pathlib.Path(sys.prefix).rglob('*')\n"
        "size = sum(f.stat().st_size for f in files if f.is_file() and not f.is_symlink())\n"
        "print(len(found), 'packages,', round(size / 2**20), 'MiB, torch', "
        "found.get('torch', 'none'))\n"
    )
    return " ".join(_run([python, "-c", code], Path.cwd(), environment))


@contextlib.contextmanager
def _started(
    folder: Path, python: str, window: Window, environment: Mapping[str, str], base: Path
) -> Iterator[str]:
    """The window on a free port while the block lasts; its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"http://127.0.0.1:{port}"
    named = {k: v.replace("PORT", str(port)) for k, v in window.environment.items()}
    log = base / "window.txt"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [python, *window.command[1:]],
            cwd=folder,
            env={**environment, **named},
            stdout=out,
            stderr=subprocess.STDOUT,
        )
        try:
            until = time.monotonic() + _PATIENCE
            while not _answers(address + window.health):
                if process.poll() is not None or time.monotonic() > until:
                    how = "ended" if process.poll() is not None else "does not answer"
                    raise DigerError(f"the {window.name} {how}: {_last(log.read_bytes())}")
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _run(command: list[str], folder: Path, environment: Mapping[str, str]) -> list[str]:
    """Run to the end; the lines it printed. DigerError with the last of them where it failed."""
    done = subprocess.run(
        command, cwd=folder, env=dict(environment), capture_output=True, stdin=subprocess.DEVNULL
    )
    if done.returncode:
        what = " ".join(Path(command[0]).name if i == 0 else c for i, c in enumerate(command[:4]))
        what = printable(what.split("\n")[0], 60)
        raise DigerError(f"{what} failed: {_last(done.stdout + done.stderr)}")
    return [redact(line) for line in done.stdout.decode(errors="replace").splitlines()]


def _last(output: bytes) -> str:
    text = " / ".join(output.decode(errors="replace").strip().splitlines()[-6:])
    return redact(printable(text[-800:], 800)) or "it said nothing"
