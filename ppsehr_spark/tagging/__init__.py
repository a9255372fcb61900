"""Fast sequence taggers between the rules and Qwen.

Knows: taggers by name. Must not know: notes, tables, categories.
"""

from __future__ import annotations

from functools import cache

from ppsehr_spark.domain.tagging import Tagger
from ppsehr_spark.errors import ConfigurationError


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

        return CrfTagger()
    if name == "lac":
        from ppsehr_spark.tagging.lac import LacTagger

        return LacTagger()
    raise ConfigurationError("TAGGER", hint="partition.tagger is crf, lac or none")
