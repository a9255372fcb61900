"""Named points around commits at which a process dies on request, so that recovery is tested for real.

Knows: one environment variable. Must not know: what is being committed.
"""

from __future__ import annotations

import os
import sys


def crash_point(name: str) -> None:
    """Die here, as by SIGKILL, when ``PPSEHR_CRASH_AT`` is ``name``; otherwise do nothing."""
    if os.environ.get("PPSEHR_CRASH_AT") == name:
        sys.stderr.write(f"crash point {name}\n")
        sys.stderr.flush()
        os._exit(137)
