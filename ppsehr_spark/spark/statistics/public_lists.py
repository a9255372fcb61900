"""Public lists as Spark expressions: the position of a row's value within its list, never the value itself.

Knows: which columns of phi.encounters belong to which list, and where values outside a list fall. Must not know: which
values occur in the data. The literals of these expressions are all public, so plans and event logs hold no value of a
patient.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyspark.sql import Column
from pyspark.sql import functions as F

from ppsehr_spark.domain.codelists import OTHER_CHAPTER, OTHER_DEPARTMENT, Chapter, load_codelists
from ppsehr_spark.domain.taxonomy import load_categories
from ppsehr_spark.privacy.releases import Cell

#: Kinds of visit as sources of ours name them, and where everything else falls.
_ENCOUNTER_TYPES = ("门诊", "住院", "急诊", "其他")
_TIERS = ("1", "2", "3")
#: A category that carries no tiers, or a span without one.
NO_TIER = "-"
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


def locate_key(name: str, lists: PublicLists) -> Column:
    """Position in the list ``name`` of a row of phi.encounters; the last one for whatever the list does not hold."""
    if name == "chapter":
        return _locate_chapter(lists.chapters)
    return locate_value(F.col(name), lists.values[name])


def locate_value(column: Column, values: Sequence[str]) -> Column:
    """0-based position of a column among public values, the last one for nulls and values that are not listed."""
    position = F.array_position(F.array(*(F.lit(value) for value in values)), column)
    return F.when(position > 0, position - 1).otherwise(F.lit(len(values) - 1)).cast("int")


def measure_of(name: str) -> Column:
    """Whole-numbered measure of a row of phi.encounters; null where it cannot be told.

    ``length_of_stay_days``: calendar days (UTC) from admission to discharge, 0 for the same day.
    """
    days = F.datediff(F.to_date("discharged_at"), F.to_date("admitted_at"))
    # greatest() alone would make 0 days of a visit without an end
    return {LENGTH_OF_STAY: F.when(days.isNotNull(), F.greatest(days, F.lit(0)))}[name]


def _locate_chapter(chapters: Sequence[Chapter]) -> Column:
    """Chapter of the main diagnosis by its three-character category, as ``CodeLists.find_chapter`` tells it."""
    code = F.when(F.size("diagnosis_codes") > 0, F.element_at("diagnosis_codes", 1))
    category = F.substring(F.upper(F.trim(code)), 1, 3)
    found = F.lit(None).cast("int")
    for position, chapter in reversed(list(enumerate(chapters))):
        found = F.when(category.between(chapter.first, chapter.last), F.lit(position)).otherwise(found)
    return F.coalesce(found, F.lit(len(chapters)))
