"""Deeds done in processes of their own: watched, short of something, or killed at any moment.

A server that has imported what deeds need forks a process for each, so that a hundred deaths by
`kill -9` take minutes. A deed is a function of a module, with arguments that can be pickled.
"""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import os
import resource
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from diger.errors import DigerError

PATIENCE = 120.0
# Imported once: else most of a short life, and most random moments of it, would be imports.
PRELOADED = ["deeds", "hostile", "diger.hub", "huggingface_hub", "pyarrow.dataset", "torch._dynamo"]
_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Outcome:
    """How a deed ended: with `value`, the one line of a `refusal`, or a `fault` of ours.

    seconds: how long it took. grown: bytes by which its memory grew, at most.
    """

    value: Any = None
    refusal: str = ""
    fault: str = ""
    seconds: float = 0.0
    grown: int = 0


def attempt(
    deed: Callable[..., Any],
    *arguments: Any,
    memory: int | None = None,
    file_size: int | None = None,
    unprivileged: bool = False,
) -> Outcome:
    """Do it, with at most so much more memory, files of at most so many bytes, or no privileges."""
    ours, theirs = _context.Pipe(duplex=False)
    process = _begin(_watched, theirs, deed, arguments, memory, file_size, unprivileged)
    theirs.close()
    outcome = Outcome(fault=f"no answer within {PATIENCE:.0f} s")
    try:
        if ours.poll(PATIENCE):
            outcome = ours.recv()
    except EOFError:
        process.join()
        outcome = Outcome(fault=f"the process died with status {process.exitcode}")
    process.kill()
    process.join()
    return outcome


def killed(deed: Callable[..., Any], *arguments: Any, after: float) -> bool:
    """Kill it `after` seconds; whether it had not ended by then."""
    process = _begin(_quiet, deed, arguments)
    process.join(after)
    process.kill()
    process.join()
    return process.exitcode == -9


def _begin(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    with _findable():
        forkserver.set_forkserver_preload(PRELOADED)
        forkserver.ensure_running()
    process = _context.Process(target=target, args=arguments, daemon=True)
    process.start()
    return process


@contextlib.contextmanager
def _findable() -> Iterator[None]:
    """The server is started with this process's modules in reach."""
    import sys

    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, sys.path))
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before


def _silence() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)


def _quiet(deed: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    _silence()
    deed(*arguments)


def _watched(
    pipe: Any,
    deed: Callable[..., Any],
    arguments: tuple[Any, ...],
    memory: int | None,
    file_size: int | None,
    unprivileged: bool,
) -> None:
    _silence()
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    if memory is not None:
        _limit(resource.RLIMIT_AS, _memory("VmSize") + memory)
    if file_size is not None:
        _limit(resource.RLIMIT_FSIZE, file_size)
    if unprivileged:
        _drop_privileges()
    before, began = _memory("VmRSS"), time.perf_counter()
    value, refusal, fault = None, "", ""
    try:
        value = deed(*arguments)
    except DigerError as error:
        refusal = str(error)
    except BaseException:
        fault = traceback.format_exc()
    seconds = time.perf_counter() - began
    pipe.send(Outcome(value, refusal, fault, seconds, _memory("VmHWM") - before))


def _drop_privileges() -> None:
    """Root may write anywhere; without its capabilities it may not."""
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)  # version 3 of the call, this process
    if libc.capset(header, (ctypes.c_uint32 * 6)()):
        raise OSError(ctypes.get_errno(), "capset")


def _limit(what: int, most: int) -> None:
    resource.setrlimit(what, (most, resource.getrlimit(what)[1]))


def _memory(what: str) -> int:
    """Bytes, as the kernel counts this process's memory."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{what}:"):
            return int(line.split()[1]) * 1024
    raise ValueError(what)
