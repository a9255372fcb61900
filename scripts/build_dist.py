"""Build the wheel, and the same content under a ``.zip`` name for ``spark-submit --py-files``.

Knows: Spark puts only ``.zip``, ``.egg`` and ``.jar`` of ``--py-files`` on the workers' path, and a wheel is a zip.
Must not know: what is inside. Both files hold conf; third-party libraries come from the cluster's own image.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent.parent


def main() -> int:
    """Leave exactly one wheel and one zip in ``dist/`` (or the folder given)."""
    target = Path(sys.argv[1]) if len(sys.argv) > 1 else HOME / "dist"
    for path in build_dist(target):
        print(path)
    return 0


def build_dist(target: Path) -> tuple[Path, Path]:
    """Build into ``target``, replacing what an earlier build left there.

    Returns:
        Paths of the wheel and of the zip.
    """
    target.mkdir(parents=True, exist_ok=True)
    for old in [*target.glob("ppsehr_spark-*.whl"), *target.glob("ppsehr_spark-*.zip")]:
        old.unlink()
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(target), str(HOME)]
    fixed_time = {"SOURCE_DATE_EPOCH": "1704067200"}  # the same sources give the same bytes
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env={**os.environ, **fixed_time})
    (wheel,) = target.glob("ppsehr_spark-*.whl")
    archive = target / f"{'-'.join(wheel.name.split('-')[:2])}.zip"
    shutil.copyfile(wheel, archive)
    return wheel, archive


if __name__ == "__main__":
    sys.exit(main())
