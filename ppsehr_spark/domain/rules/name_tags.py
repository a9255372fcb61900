"""What a sequence tagger takes for a person, read by the grammar of names: without its title, with its odds by form.

Knows: titles at the end of a tagged range, forms of names, what is no person after all. Must not know: which tagger,
how much its word counts. Reference: annotation guideline v1, row NAME (surname before a title); decision 0011.
"""

from __future__ import annotations

import re

from ppsehr_spark.domain.offsets import NormalisedText
from ppsehr_spark.domain.rules.name_edges import weigh_right
from ppsehr_spark.domain.rules.name_found import FoundName, NameReading
from ppsehr_spark.domain.rules.name_parts import NameReader
from ppsehr_spark.domain.rules.name_refusals import is_brand, is_drug, is_eponym, is_place

#: No name of a person holds these.
_NO_NAME = re.compile(r"[\s0-9,.:;!?()]")
#: Titles of one character: ``贾总``, ``竺姐``; they close nothing but a surname.
_SHORT_TITLES = frozenset("总姐哥嫂婶叔导工局队处董护老")
#: Log-odds of the form are held within these. Names by sound are those of clubs and drugs as well; a given name or a
#: nickname of given characters is a form of its own; what has no form of a name speaks against the tagger.
_MOST, _BY_SOUND, _GIVEN, _NO_FORM = 6.0, -2.0, -3.0, -12.0
_MARKED, _RUNS_ON = 12.0, 4.0
#: One whole word in Latin letters; of several words the tagger sees now this one, now that.
_LATIN = re.compile(r"(?<![A-Za-zÀ-ÿ·])(?<![A-Za-zÀ-ÿ] )[A-Z][A-Za-zÀ-ÿ'\-]{2,}(?![A-Za-zÀ-ÿ.·]| [A-Za-z])")
_PARENT = re.compile(r"(?:妈妈?|爸爸?|奶奶|爷爷|外婆|外公|姥姥)$")
_LETTER = re.compile(r"[A-Za-zÀ-ÿ]")
_NICK_HEADS = frozenset("小大老阿")


def read_tag(note: NormalisedText, start: int, end: int, reader: NameReader) -> tuple[int, int, float] | None:
    """``TagReader.read_tag``."""
    text = note.text
    start -= text[start - 1 : start + 1] in reader.model.compound  # 公[孙瑾]
    marked = reader.read_marked(text, start)
    end = marked.end if marked else _without_title(text, start, end, reader)
    found = FoundName(start, end, 0.0, "inside")
    if not marked and (_is_part(text, start, end) or _NO_NAME.search(text, start, end)):
        return None
    if "·" in text[start:end] and reader.model.word_cost(text[start - 1 : start + 1]) is not None:  # 中国·无锡
        return None
    if is_drug(text, found) or is_eponym(text, found) or is_place(text, found) or is_brand(note, found):
        return None
    return start, end, _weigh_form(text, start, end, reader)


def _is_part(text: str, start: int, end: int) -> bool:
    """True for a piece of a name with dots or of words in Latin letters."""
    if "·" in (text[start - 1 : start], text[end - 1], text[end : end + 1]):
        return True
    latin = _LATIN.match(text, start)
    return _LETTER.match(text, start) is not None and not (latin and latin.end() == end)


def _without_title(text: str, start: int, end: int, reader: NameReader) -> int:
    """``凌教授`` -> the end of 凌, ``乐乐妈`` -> of 乐乐."""
    parent = _PARENT.search(text, start + 2, end)
    if parent:
        return parent.start()
    if end - start == 2 and text[end - 1] in _SHORT_TITLES and text[start] in reader.model.single:
        return end - 1
    return next(
        (end - size for size in (4, 3, 2) if end - start > size and reader.is_title(text[end - size : end])), end
    )


def _weigh_form(text: str, start: int, end: int, reader: NameReader) -> float:
    marked = reader.read_marked(text, start)
    readings = [r for r in (*reader.read_ends(text, start), *([marked] if marked else [])) if r.end == end]
    form = max((_weigh_reading(r) for r in readings), default=_weigh_unread(text, start, end, reader))
    return form + _MARKED * (weigh_right(text, end) > 0) - _RUNS_ON * (not reader.is_closed(text, end))


def _weigh_reading(reading: NameReading) -> float:
    return _BY_SOUND if reading.form == "foreign" else max(-_MOST, min(_MOST, reading.odds))


def _weigh_unread(text: str, start: int, end: int, reader: NameReader) -> float:
    """A given name alone, ``小雯``, a word in Latin letters; or nothing that names are made of."""
    if _LETTER.match(text, start):
        return 0.0
    given = text[start + (text[start] in _NICK_HEADS) : end]
    is_given = end - start == 2 and all(c in reader.model.given for c in given)
    return _GIVEN if is_given and text[start:end] not in reader.model.words else _NO_FORM
