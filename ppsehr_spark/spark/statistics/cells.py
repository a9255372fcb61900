"""Public cells of items: where each item falls for each release, over whole Arrow batches.

Knows: how facts of an item (a department, a code, a number of days) lead to a position within public lists, and where
values outside a list fall. Must not know: Spark, bounds, what the lists hold (``lake.statistics_plan``). A text is
looked up once per batch in which it occurs, whatever the number of rows that hold it and of releases that ask.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ppsehr_spark.domain.codelists import CodeLists
from ppsehr_spark.lake.statistics_plan import MARKS_PER_PATIENT, PublicLists
from ppsehr_spark.privacy.catalogue import HISTOGRAM, MOMENTS, MONTH, QUANTILE, SPANS, THRESHOLD, Release
from ppsehr_spark.privacy.key_forms import encode_key
from ppsehr_spark.spark.statistics.bounded_sums import NO_CELL, Integers

#: Facts of an item: its main diagnosis in capitals; months since year 0; category and tier of a mark.
DIAGNOSIS, MONTHS, MARK = "diagnosis", "months", "mark"
#: Between the category and the tier of a mark.
BETWEEN = "\x1f"
_TEXT_OF = {"chapter": DIAGNOSIS, "block": DIAGNOSIS, "icd_code": DIAGNOSIS, "department_group": "department"}
_CATEGORY_CHARS = 3
_CATEGORY = re.compile(r"[A-Z][0-9]{2}")
Place: TypeAlias = Callable[[str], int]


def is_about_marks(release: Release) -> bool:
    """True where items are marks in notes, False where they are visits."""
    return release.kind == SPANS or release.measure == MARKS_PER_PATIENT


def facts_of(release: Release) -> set[str]:
    """Names of the facts that decide about an item of this release."""
    if is_about_marks(release):
        return {MARK}
    found = {_text_of(key) for key in (*_placed_by(release), *release.only)}
    if release.measure and not release.is_per_patient:
        found.add(release.measure)
    return found


class CellFinder:
    """Cells of the items of one partition.

    Args:
        releases: in the order in which cells are wanted.
        lists: public lists in which items have their places.
    """

    def __init__(self, releases: Sequence[Release], lists: PublicLists) -> None:
        self._releases = releases
        self._lists = lists

    def find(self, facts: pa.Table) -> list[Integers]:
        """Cell of every item for each release, ``NO_CELL`` where the item does not count.

        Args:
            facts: one row per item, a column per fact; ``MARK`` is null for a visit.
        """
        items = _Items(facts, self._lists)
        return [items.find_cells(release) for release in self._releases]


class _Items:
    """Facts as integers, each worked out once, however many releases ask for it."""

    def __init__(self, facts: pa.Table, lists: PublicLists) -> None:
        self._facts = facts
        self._lists = lists
        self._known: dict[str, Integers] = {}
        marks = facts.column(MARK).is_valid() if MARK in facts.column_names else None
        self._is_mark = np.zeros(len(facts), bool) if marks is None else marks.to_numpy()

    def find_cells(self, release: Release) -> Integers:
        """Cells for one release."""
        counts = self._is_mark == is_about_marks(release)
        if release.is_per_patient:
            cells = np.zeros(len(self._facts), np.int64)
        elif release.kind == SPANS:
            cells = self._place(MARK, _place_mark(self._lists))
        elif release.kind == THRESHOLD:
            cells = self._place(f"{DIAGNOSIS}.{release.form}", _place_form(release.form))
        elif release.kind in (HISTOGRAM, QUANTILE):
            cells = self._locate(release.measure, release.edges or release.candidates)
        else:
            cells = self._locate_keys(release)
        if release.kind in MOMENTS:
            values = range(min(release.clamp), max(release.clamp) + 1)
            measured = self._locate(release.measure, values)
            cells = np.where(measured == NO_CELL, NO_CELL, cells * len(values) + measured)
        for key, value in release.only.items():
            counts = counts & (self._position(key) == self._lists.values[key].index(value))
        return np.where(counts, cells, NO_CELL)

    def _locate_keys(self, release: Release) -> Integers:
        """Position within the product of the lists; of a hierarchy, within its finest list."""
        cells, counts = np.zeros(len(self._facts), np.int64), np.ones(len(self._facts), bool)
        for key in _placed_by(release):
            if key == MONTH:
                position, size = self._count_months(release.months), len(release.months)
                counts &= (position >= 0) & (position < size)
            else:
                position, size = self._position(key), len(self._lists.values[key])
            cells = cells * size + position
        return np.where(counts, cells, NO_CELL)

    def _count_months(self, months: Sequence[str]) -> Integers:
        """Months from the first of a public window to each item's."""
        year, month = (int(part) for part in months[0].split("-"))
        return self._number(MONTHS) - (year * 12 + month)

    def _locate(self, measure: str, lows: Sequence[int]) -> Integers:
        """Position of the last lower end that a measure reaches; what lies below the first falls into it."""
        values = self._number(measure)
        reached = np.searchsorted(np.asarray(lows[1:], np.int64), values, side="right").astype(np.int64)
        return np.where(values == NO_CELL, NO_CELL, reached)

    def _number(self, name: str) -> Integers:
        """A fact that is a whole number, 0 or more; ``NO_CELL`` where it is not known."""
        if name not in self._known:
            self._known[name] = pc.fill_null(self._facts.column(name).cast(pa.int64()), NO_CELL).to_numpy()
        return self._known[name]

    def _position(self, name: str) -> Integers:
        return self._place(name, _place_in(name, self._lists))

    def _place(self, name: str, place: Place) -> Integers:
        """Positions of a fact that is a text; a null is the empty text."""
        if name not in self._known:
            texts = self._facts.column(_text_of(name.partition(".")[0])).combine_chunks().dictionary_encode()
            places = [*map(place, texts.dictionary.to_pylist()), place("")]
            self._known[name] = np.asarray(places, np.int64)[pc.fill_null(texts.indices, -1).to_numpy()]
        return self._known[name]


def _text_of(name: str) -> str:
    """The fact by which a list, or the month, is told."""
    return MONTHS if name == MONTH else _TEXT_OF.get(name, name)


def _placed_by(release: Release) -> Sequence[str]:
    if release.kind == THRESHOLD:
        return (DIAGNOSIS,)  # the data choose those keys, no list holds them
    return release.levels[-1:] or release.keys


def _place_form(form: str) -> Place:
    """Number of a text within a public form (``key_forms``), ``NO_CELL`` for a text of another form."""

    def place(text: str) -> int:
        number = encode_key(form, text)
        return NO_CELL if number is None else number

    return place


def _place_mark(lists: PublicLists) -> Place:
    places = {BETWEEN.join(value for _, value in cell): at for at, cell in enumerate(lists.span_cells)}
    return lambda text: places.get(text, NO_CELL)


def _place_in(name: str, lists: PublicLists) -> Place:
    """Position of a text in a list; the last one for whatever the list does not hold."""
    places = {value: at for at, value in enumerate(lists.values[name])}
    last = len(places) - 1
    if name == "chapter":
        codes = CodeLists(departments=(), chapters=lists.chapters, diagnoses=())
        return lambda text: places.get(codes.find_chapter(text), last)
    if name == "department_group":
        groups = lists.parents["department"]
        return lambda text: places.get(groups.get(text, ""), last)
    if name in ("block", "icd_code"):
        return lambda text: _place_icd(text[:_CATEGORY_CHARS], places, lists)
    return lambda text: places.get(text, last)


def _place_icd(category: str, places: dict[str, int], lists: PublicLists) -> int:
    """Place of a three-character category, or else of its block; in a gap between blocks it is another."""
    if category in places:
        return places[category]
    at = bisect_right(lists.blocks, category, key=lambda block: block.first) - 1
    is_known = at >= 0 and category <= lists.blocks[at].last and _CATEGORY.fullmatch(category)
    return places[lists.blocks[at].code] if is_known else len(places) - 1
