"""What a launcher such as torchrun tells each of the processes it starts. Free of torch."""

from __future__ import annotations

import os

from diger.errors import DigerError

LAUNCHER = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")  # what torchrun sets


def number(name: str, otherwise: int) -> int:
    """The whole number in an environment variable; `otherwise` where it is not set, or empty."""
    text = os.environ.get(name, "")
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise DigerError(
            f"the environment variable {name} must be a whole number, got {text[:40]!r}; unset it, "
            "or let torchrun set it"
        )
    return int(text)


def launched() -> bool:
    """Whether a launcher started this process as one of several."""
    if not all(os.environ.get(name) for name in LAUNCHER):
        return False
    count, rank, port = number("WORLD_SIZE", 1), number("RANK", 0), number("MASTER_PORT", 0)
    if count > 1 and (rank >= count or port >= 2**16):
        raise DigerError(
            f"RANK {rank}, WORLD_SIZE {count} and MASTER_PORT {port} do not go together; unset "
            "them, or let torchrun set them"
        )
    return count > 1
