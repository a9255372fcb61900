"""Fast sequence taggers between the rules and Qwen.

Knows: taggers by name, and what tells one state of a tagger from another. Must not know: notes, tables, categories.
"""

from __future__ import annotations

import hashlib
from functools import cache
from importlib import resources

from ppsehr_spark.domain.tagging import Tagger
from ppsehr_spark.errors import ConfigurationError

#: Packed weights of ``crf``, made by ``scripts/train_tagger.py``.
CRF_WEIGHTS = "weights/phi.crf.xz"


@cache
def open_tagger(name: str) -> Tagger | None:
    """The tagger that ``partition.tagger`` names, loaded once per process; ``None`` for ``none``.

    Raises:
        ConfigurationError: ``TAGGER`` for an unknown name.
    """
    if name == "none":
        return None
    if name == "crf":
        from ppsehr_spark.tagging.crf import CrfTagger

        return CrfTagger(_read_weights())
    raise ConfigurationError("TAGGER", hint="partition.tagger is crf or none")


@cache
def tagger_version(name: str) -> str:
    """Name and weights (12 hex digits): rows of another version are computed again."""
    return f"crf:{hashlib.sha256(_read_weights()).hexdigest()[:12]}" if name == "crf" else name


def _read_weights() -> bytes:
    return (resources.files("ppsehr_spark.tagging") / CRF_WEIGHTS).read_bytes()
