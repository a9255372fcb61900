"""Names that another name vouches for: companions in a list of staff, and repeats of a certain name.

Knows: what joins names in a row and when a surface may be looked for again. Must not know: labels or titles.
Reference: annotation guideline v1, "Every mention is annotated, not the first only".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final

from ppsehr_spark.domain.first_characters import GuardedPattern
from ppsehr_spark.domain.rules.name_edges import CLEAR, weigh_right
from ppsehr_spark.domain.rules.name_found import FoundName, NameReading
from ppsehr_spark.domain.rules.name_model import NameModel, is_hanzi
from ppsehr_spark.domain.rules.name_parts import NOT_GIVEN, NameReader

_COMPANION = GuardedPattern(
    r"(?:副?主任医?师?|主治医?师?|住院医师|医师|医生|护士长?|主管护师|护师|教授|老师|大夫)?"
    r"(?:[ ]?\([^()\n]{1,10}\))?(?:[、/和与及]|[ ]{1,4}(?=[\u4e00-\u9fff]{2,3}(?:[ \n。;,]|$)))"
)
_BEFORE_COMPANION: Final = frozenset("、/和与及")
_BETWEEN: Final = 0.8
_LONE: Final = 0.5
_MOST_COMPANIONS: Final = 60
_MOST_NAMES: Final = 200
_CERTAIN: Final = 0.85
_SURE: Final = 0.75
_AFTER_MARK: Final = 3.0
_AFTER_AND: Final = 5.5
_AFTER_NAME: Final = 7.5
#: A whole item of a list of names needs little of its own form.
_ENDS_ITEM: Final = frozenset(["、", "。", ";", ",", "(", "\n", ""])
_ITEM: Final = 0.0
_ORDINARY: Final = 13.0
#: Two in a row that are likely; an item of a list, and how common a word it may be; lists so long are lists of names.
_PAIRED: Final = 0.45
_LIST_ITEM = re.compile(r"[\u4e00-\u9fff]{2,4}?(?=[、。;,(\n]|[和及等与]|[一二两三四五六七八九十][位人名]|均|…|$)")
_NO_ITEMS: Final = frozenset(["高血压", "房颤"])
_UNLISTED: Final = 99.0
_PLAIN_WORD: Final = 9.5
_LONG_LIST: Final = 2
_LONGEST_LIST: Final = 200
_GIVEN_ALONE: Final = 0.75
_LIKELY: Final = 0.3
_RECURS: Final = 0.86
#: Beside these even an ordinary word (黎明, 高兴) is the person who bears it as a name elsewhere in the note.
_PERSON_BEFORE = re.compile(
    r"(?:患者|病人|患儿|产妇|家属|亲属|[其之请由嘱与和同向叫]|告知|通知|[父母夫妻子女兄弟姐妹])$"
)
_PERSON_AFTER = re.compile(
    r"[自代]?[诉述]|及其|要求|表示|签[名字署]|同意|拒绝|来[电院诊]|陪|在场|之[子女父母夫妻]|的(?:家属|父|母|丈夫|妻|儿|女)|"
    r"主任|副主任|医[师生]|护[士师]|教授|大夫|先生|女士|[,、]?[男女](?:[,。; ]|$)"
)
_WORD_AS_NAME: Final = 0.86
_ALONE_AFTER: Final = frozenset(',。;:“"')


def find_companions(text: str, found: list[FoundName], reader: NameReader) -> list[FoundName]:
    """Clear names before and after a certain one in a list, one after the other, and what stands between two."""
    added: list[FoundName] = []
    queue = [f for f in found if f.confidence >= _SURE]
    queue += _find_paired(text, found)
    known = {f.start for f in queue}
    added += [f for f in queue if f.rule == "companion"]
    while queue and len(added) < _MOST_COMPANIONS:
        name = queue.pop()
        after, item = _read_next(text, name.end, reader), _read_next_item(text, name, reader)
        after = item if item and (after is None or item.end < after.end) else after
        for reading in (after, _read_previous(text, name.start, reader)):
            if reading and reading.start not in known:
                added.append(FoundName(reading.start, reading.end, 0.85, "companion"))
                known.add(reading.start)
                queue.append(added[-1])
    added += _find_lone(text, [*found, *added], reader)
    return added + _find_between(text, [*found, *added], reader)


def _find_paired(text: str, found: list[FoundName]) -> list[FoundName]:
    """Likely names beside likely names in a list: together they are sure."""
    likely = {f.start: f for f in found if f.confidence >= _PAIRED and f.end - f.start > 1}
    paired = []
    for f in likely.values():
        after = likely.get(f.end + 1) if text[f.end : f.end + 1] == "、" else None
        paired += [FoundName(x.start, x.end, _BETWEEN, "companion") for x in (f, after)] if after else []
    return paired


def _read_item(text: str, at: int, reader: NameReader, *, listed: int) -> NameReading | None:
    """A whole item of a list, of two or three characters with a surname's at their head, though it be a word."""
    match = _LIST_ITEM.match(text, at)
    if match is None:
        return None
    model, item = reader.model, match.group()
    width = 2 if item[:2] in model.compound else 1
    given = item[width:]
    if not 1 <= len(given) <= 2 or item in _NO_ITEMS or reader.is_person_before(text, match.end()):
        return None
    is_surname = item[:width] in (model.common if listed < _LONG_LIST else model.surnames) or width == 2
    cost = model.words.get(item, _UNLISTED)
    is_named = not NOT_GIVEN.isdisjoint(given) or cost < _PLAIN_WORD
    return NameReading(at, match.end(), 0.0, True, "han") if is_surname and not is_named else None


def _find_lone(text: str, found: list[FoundName], reader: NameReader) -> list[FoundName]:
    """``术者蓝/喻``: a surname alone, on the other side of a stroke from one that is certain."""
    lone = []
    for f in found:
        mark, after = text[f.end : f.end + 1], text[f.end + 1 : f.end + 2]
        is_alone = f.end - f.start == 1 and f.confidence >= _LONE and mark in ("/", "、")
        if is_alone and after in reader.model.single and not is_hanzi(text, f.end + 2):
            lone.append(FoundName(f.end + 1, f.end + 2, _BETWEEN, "companion"))
    return lone


def _read_next(text: str, end: int, reader: NameReader) -> NameReading | None:
    gap = _COMPANION.match(text, end)
    if gap is None and text[end : end + 1] not in reader.model.heads:
        return None
    reading = reader.read_right(text, gap.end() if gap else end)
    if reading is None or not reading.is_bounded:
        return None
    least = _AFTER_NAME if gap is None else _AFTER_AND if text[gap.end() - 1] in "和与及" else _AFTER_MARK
    is_item = gap is not None and text[gap.end() - 1] == "、" and text[reading.end : reading.end + 1] in _ENDS_ITEM
    return reading if reading.odds >= (_ITEM if is_item else least) else None


def _read_next_item(text: str, name: FoundName, reader: NameReader) -> NameReading | None:
    """The item behind a name and its 、; in a list of many any surname will do."""
    if text[name.end : name.end + 1] != "、":
        return None
    low = max(0, name.start - _LONGEST_LIST)
    start = max(low, *(text.rfind(mark, low, name.start) for mark in "。;:\n,"))
    return _read_item(text, name.end + 1, reader, listed=text.count("、", start, name.end + 1))


def _read_previous(text: str, start: int, reader: NameReader) -> NameReading | None:
    mark = text[start - 1 : start]
    if not mark or mark not in _BEFORE_COMPANION:
        return None
    reading = reader.read_left(text, start - 1)
    least = _AFTER_AND if mark in "和与及" else _AFTER_MARK
    return reading if reading and reading.is_bounded and reading.odds >= least else None


def _find_between(text: str, found: list[FoundName], reader: NameReader) -> list[FoundName]:
    """A surname and one or two characters, even a word, alone between two certain names of a list."""
    certain = [f for f in found if f.confidence >= _SURE]
    starts = {f.start for f in certain}
    between = []
    for start in {f.end + 1 for f in certain if text[f.end : f.end + 1] in ("、", "/")} - starts:
        ends = (end for end in (start + 2, start + 3) if end + 1 in starts and text[end] in "、/")
        end = next(ends, None)
        if end is None:
            continue
        is_surname = text[start] in reader.model.common or (end == start + 3 and text[start] in reader.model.single)
        if is_surname and all(is_hanzi(text, at) for at in range(start, end)):
            between.append(FoundName(start, end, _BETWEEN, "companion"))
    return between


def find_repeats(text: str, found: list[FoundName], reader: NameReader) -> Iterator[FoundName]:
    """Other places of a full name that is certain somewhere in the note.

    Of an ordinary word, and of a name that is likely only, those beside a person.
    """
    odds: dict[str, float] = {}
    for f in found:
        name = text[f.start : f.end]
        if (
            f.confidence >= _SURE
            and len(name) >= 2
            and name[-1] != "某"
            and all(is_hanzi(name, i) for i in range(len(name)))
        ):
            odds[name] = max(odds.get(name, 0.0), f.confidence)
    if not odds or len(odds) > _MOST_NAMES:
        return
    taken = {(f.start, f.end) for f in found if f.confidence >= _CERTAIN}
    for name, confidence in sorted(odds.items()):
        is_shy = confidence < _CERTAIN or not _may_repeat(name, reader.model)
        at = text.find(name)
        while at >= 0:
            end = at + len(name)
            if (at, end) not in taken and not (is_shy and not _is_beside_person(text, at, end, reader)):
                yield FoundName(at, end, _WORD_AS_NAME if is_shy else 0.98 if "某" in name else 0.9, "repeat")
            at = text.find(name, end)


def _is_beside_person(text: str, start: int, end: int, reader: NameReader) -> bool:
    """True beside a person, or alone between the edges of a clause and a word that follows names."""
    if not is_hanzi(text, start - 1) and weigh_right(text, end) >= CLEAR:
        return True
    if text[start - 1 : start] in _ALONE_AFTER and is_hanzi(text, end) and reader.is_followed(text, end):
        return True
    before = _PERSON_BEFORE.search(text, max(0, start - 3), start) is not None
    return before or _PERSON_AFTER.match(text, end) is not None


def find_given(text: str, found: list[FoundName], reader: NameReader) -> Iterator[FoundName]:
    """The given name alone, where the whole name is certain elsewhere in the note and the given name is no word."""
    model = reader.model
    names = {text[f.start : f.end] for f in found if f.confidence >= _SURE and 3 <= f.end - f.start <= 4}
    given = {n[-2:] for n in names if n[:-2] in model.surnames}
    given = {g for g in given if g not in model.words and all(c in model.given for c in g)}
    if not given or len(given) > _MOST_NAMES:
        return
    for name in sorted(given):
        at = text.find(name)
        while at >= 0:
            if _stands_alone(text, at, at + len(name), reader):
                yield FoundName(at, at + len(name), _GIVEN_ALONE, "given")
            at = text.find(name, at + len(name))


def _stands_alone(text: str, start: int, end: int, reader: NameReader) -> bool:
    is_headed = text[start - 1 : start] in reader.model.single
    return not is_headed and reader.is_open_left(text, start) and reader.is_closed(text, end)


def corroborate(text: str, found: list[FoundName], reader: NameReader) -> Iterator[FoundName]:
    """Names that are likely in two places or more of one note: what recurs in the places of persons is one."""
    places: dict[str, dict[int, FoundName]] = {}
    for f in found:
        if _LIKELY <= f.confidence < _SURE and text[f.start] in reader.model.common:
            places.setdefault(text[f.start : f.end], {})[f.start] = f
    for name, at in places.items():
        is_sound = all(c in reader.foreign.characters for c in name)
        if len(at) > 1 and not is_sound and len(name) > 1 and _may_repeat(name, reader.model):
            yield from (FoundName(f.start, f.end, _RECURS, "recurs") for f in at.values())


def _may_repeat(name: str, model: NameModel) -> bool:
    cost = model.word_cost(name)
    return (
        all(is_hanzi(name, at) for at in range(len(name))) and name[-1] != "某" and (cost is None or cost > _ORDINARY)
    )
