"""Put together what is uploaded as a Space: `python dashboard/assemble.py OUT [bundles ...]`.

The dashboard, `diger/`, and bundles (by default all in `checkpoints/`), with
the Dockerfile and the front matter at the top. Written beside OUT and renamed when whole.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
_SKIP = shutil.ignore_patterns("__pycache__", "*.pyc", ".*.tmp", "assemble.py", "pictures.py")


def assemble(out: Path, bundles: list[Path]) -> Path:
    """Write the Space's folder at `out`, which must not exist yet."""
    if out.exists():
        raise SystemExit(f"error: {out} is there already; give a new folder")
    staging = out.with_name(f".{out.name}.tmp")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    shutil.copytree(ROOT / "dashboard", staging / "dashboard", ignore=_SKIP)
    shutil.copytree(ROOT / "diger", staging / "diger", ignore=_SKIP)
    (staging / "checkpoints").mkdir()
    for bundle in bundles:
        shutil.copytree(bundle, staging / "checkpoints" / bundle.name, ignore=_SKIP)
    for name in ("Dockerfile", "README.md"):
        shutil.move(staging / "dashboard" / name, staging / name)
    staging.rename(out)
    return out


def main(arguments: list[str]) -> None:
    """The command line."""
    if not arguments or arguments[0].startswith("-"):
        raise SystemExit(__doc__)
    given = [Path(a) for a in arguments[1:]]
    here = sorted(p.parent for p in (ROOT / "checkpoints").glob("*/manifest.json"))
    missing = [p for p in given if not (p / "manifest.json").is_file()]
    if missing:
        raise SystemExit(f"error: {missing[0]} is not a bundle")
    out = assemble(Path(arguments[0]), given or here)
    size = sum(p.stat().st_size for p in out.rglob("*") if p.is_file())
    print(f"{out}: {len(given or here)} bundles, {size / 2**20:.1f} MiB")


if __name__ == "__main__":
    main(sys.argv[1:])
