"""When two questions are the same: the run under which the ledger knows a question.

Knows: that a question is its definition and the data it reads. Must not know: the data, pipeline runs. A stage that was
killed and is started again asks the same question of the same table versions, so the ledger gives back what was
released instead of drawing again; a refresh reads other versions, asks anew and pays anew.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping


def make_ask_id(stage: str, *, definition: object, versions: Mapping[str, int | None]) -> str:
    """Stage name and 16 hex digits of SHA-256 over definition and table versions.

    Args:
        definition: everything that decides the answer, as plain JSON values.
        versions: table name -> Delta version that will be read, exactly that one.
    """
    text = json.dumps([definition, versions], ensure_ascii=False, sort_keys=True)
    return f"{stage}-{hashlib.sha256(text.encode()).hexdigest()[:16]}"
