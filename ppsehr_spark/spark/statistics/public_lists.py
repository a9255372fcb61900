"""Public lists as Spark expressions: the position of a row's value within its list, never the value itself.

Knows: which columns of phi.encounters belong to which list, and where values outside a list fall. Must not know: which
values occur in the data. The literals of these expressions are all public, so plans and event logs hold no value of a
patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from ppsehr_spark.domain.codelists import OTHER_CHAPTER, OTHER_DEPARTMENT, Chapter, load_codelists
from ppsehr_spark.domain.taxonomy import load_categories
from ppsehr_spark.privacy.releases import Cell

#: Kinds of visit as sources of ours name them, and where everything else falls.
_ENCOUNTER_TYPES = ("门诊", "住院", "急诊", "其他")
_TIERS = ("1", "2", "3")
#: A category that carries no tiers, or a span without one.
NO_TIER = "-"
_CATEGORY = "_category"
LENGTH_OF_STAY = "length_of_stay_days"
MEASURES = frozenset({LENGTH_OF_STAY})


@dataclass(frozen=True)
class PublicLists:
    """All public keys of one conf folder.

    Attributes:
        values: list name -> values in order, the one for all others last.
        chapters: ICD-10 chapters by first category.
        span_cells: (category, tier) in order; the tier is ``-`` where there is none.
    """

    values: Mapping[str, tuple[str, ...]]
    chapters: tuple[Chapter, ...]
    span_cells: tuple[Cell, ...]


def load_public_lists(files: Mapping[str, str]) -> PublicLists:
    """Read code lists and categories out of conf (path below ``conf/`` -> text)."""
    codes = load_codelists(files)
    departments = tuple(name for name in codes.departments if name != OTHER_DEPARTMENT)
    categories = [category for category in load_categories(files).values() if category.enabled]
    span_cells = [
        (("category", category.id), ("tier", tier))
        for category in categories
        for tier in ((*_TIERS, NO_TIER) if category.is_tiered else (NO_TIER,))
    ]
    values = {
        "department": (*departments, OTHER_DEPARTMENT),
        "chapter": (*(chapter.number for chapter in codes.chapters), OTHER_CHAPTER),
        "encounter_type": _ENCOUNTER_TYPES,
    }
    return PublicLists(values, codes.chapters, tuple(span_cells))


def add_category(encounters: DataFrame) -> DataFrame:
    """The three-character category of the main diagnosis in a column of its own, computed once per row."""
    code = F.when(F.size("diagnosis_codes") > 0, F.element_at("diagnosis_codes", 1))
    return encounters.withColumn(_CATEGORY, F.coalesce(F.substring(F.upper(F.trim(code)), 1, 3), F.lit("")))


def locate_key(name: str, lists: PublicLists) -> Column:
    """Position in the list ``name`` of a row of ``add_category``; the last one for whatever the list does not hold."""
    if name == "chapter":
        return _locate_chapter(lists.chapters)
    return locate_value(F.col(name), lists.values[name])


def locate_value(column: Column, values: Sequence[str]) -> Column:
    """0-based position of a column among public values, the last one for nulls and values that are not listed."""
    position = F.array_position(F.array(*(F.lit(value) for value in values)), column)
    return (F.coalesce(F.nullif(position, F.lit(0)), F.lit(len(values))) - 1).cast("int")


def measure_of(name: str) -> Column:
    """Whole-numbered measure of a row of phi.encounters; null where it cannot be told.

    ``length_of_stay_days``: calendar days (UTC) from admission to discharge, 0 for the same day.
    """
    days = F.datediff(F.to_date("discharged_at"), F.to_date("admitted_at"))
    # greatest() alone would make 0 days of a visit without an end
    return {LENGTH_OF_STAY: F.when(days.isNotNull(), F.greatest(days, F.lit(0)))}[name]


def count_reached(column: Column, lows: Sequence[str | int]) -> Column:
    """How many of the rising lower ends a column reaches; 0 for a null."""
    return sum((F.when(column >= low, 1).otherwise(0) for low in lows), F.lit(0))


def _locate_chapter(chapters: Sequence[Chapter]) -> Column:
    """Chapter of a category, as ``CodeLists.find_chapter`` tells it: the last that begins at or before it."""
    category = F.col(_CATEGORY)
    reached = count_reached(category, [chapter.first for chapter in chapters])
    last = F.element_at(F.array(F.lit(""), *(F.lit(chapter.last) for chapter in chapters)), reached + 1)
    return F.when((reached > 0) & (category <= last), reached - 1).otherwise(F.lit(len(chapters)))
