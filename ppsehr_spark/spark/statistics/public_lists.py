"""Public lists as Spark expressions: the position of a row's value within its list, never the value itself.

Knows: which columns of phi.encounters belong to which list, and where values outside a list fall. Must not know: what
the lists hold (``lake.statistics_plan``), which values occur in the data. The literals of these expressions are all
public, so plans and event logs hold no value of a patient.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from ppsehr_spark.domain.codelists import Chapter
from ppsehr_spark.lake.statistics_plan import AGE, LENGTH_OF_STAY, WITH_REST, PublicLists
from ppsehr_spark.privacy.key_forms import list_alphabets

_CATEGORY, _CODE = "_category", "_diagnosis_code"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_BETWEEN = "\x1e"
_ICD = "^[A-Z][0-9]{2}$"


def add_category(encounters: DataFrame) -> DataFrame:
    """Main diagnosis and its three-character category in columns of their own, computed once per row."""
    code = F.when(F.size("diagnosis_codes") > 0, F.element_at("diagnosis_codes", 1))
    coded = encounters.withColumn(_CODE, F.coalesce(F.upper(F.trim(code)), F.lit("")))
    return coded.withColumn(_CATEGORY, F.substring(_CODE, 1, 3))


def locate_key(name: str, lists: PublicLists) -> Column:
    """Position in the list ``name`` of a row of ``add_category``; the last one for whatever the list does not hold."""
    if name == "chapter":
        return _locate_chapter(lists.chapters)
    if name in ("block", "icd_code"):
        return _locate_icd(name, lists)
    if name == "department_group":
        return _locate_group(lists)
    values = lists.values[name]
    found = locate_value(F.col(name), values)
    if name in WITH_REST:
        found = F.when(found < len(values) - 1, found).otherwise(locate_value(F.col(lists.coarser[name]), values))
    return found


def add_positions(encounters: DataFrame, names: Iterable[str], lists: PublicLists) -> DataFrame:
    """``locate_key`` of each list in a column of its own: once per row, however many releases ask for it."""
    return encounters.withColumns({_position_name(name): locate_key(name, lists) for name in sorted(set(names))})


def position_of(name: str) -> Column:
    """The column that ``add_positions`` made."""
    return F.col(_position_name(name))


def _position_name(name: str) -> str:
    return f"_position_{name}"


def locate_value(column: Column, values: Sequence[str]) -> Column:
    """0-based position of a column among public values, the last one for nulls and values that are not listed."""
    # one literal that the optimiser takes apart: a call into the JVM per value costs more than the rows do
    position = F.array_position(F.split(F.lit(_BETWEEN.join(values)), _BETWEEN), column)
    return (F.coalesce(F.nullif(position, F.lit(0)), F.lit(len(values))) - 1).cast("int")


def measure_of(name: str) -> Column:
    """Whole-numbered measure of a row of phi.encounters; null where it cannot be told.

    ``length_of_stay_days``: calendar days (UTC) from admission to discharge, 0 for the same day. ``age_years``:
    completed years at admission, for rows that carry the patient's ``birth_date``.
    """
    if name == AGE:
        years = F.floor(F.months_between(F.to_date("admitted_at"), F.col("birth_date")) / 12)
        return F.when(years.isNotNull(), F.greatest(years, F.lit(0)))
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


def locate_month(months: Sequence[str]) -> Column:
    """Position of the month of admission (UTC) within a public window, null outside it."""
    year, month = (int(part) for part in months[0].split("-"))
    position = F.year("admitted_at") * 12 + F.month("admitted_at") - (year * 12 + month)
    return F.when((position >= 0) & (position < len(months)), position)


def encode_diagnosis(form: str) -> Column:
    """Number of the main diagnosis within a public form (``key_forms``), null for a code of another form."""
    number = F.lit(0)
    for at, alphabet in enumerate(list_alphabets(form), start=1):
        place = F.nullif(F.instr(F.lit(alphabet), F.substring(_CODE, at, 1)), F.lit(0)) - 1
        number = number * len(alphabet) + place
    return F.when(F.length(_CODE) == len(form), number)


def _locate_icd(name: str, lists: PublicLists) -> Column:
    """Block or code of a category, by one look-up among all that a category can be; a gap between blocks is other."""
    values = lists.values[name]
    table = [str(len(values) - 1)] * (len(_LETTERS) * 100)
    for block in lists.blocks:
        for index in range(_index_category(block.first), _index_category(block.last) + 1):
            table[index] = str(values.index(block.code))
    for at, value in enumerate(values):
        if len(value) == len("A00") and value[0] in _LETTERS:
            table[_index_category(value)] = str(at)
    letter = F.instr(F.lit(_LETTERS), F.substring(_CATEGORY, 1, 1)) - 1
    index = letter * 100 + F.substring(_CATEGORY, 2, 2).try_cast("int")
    found = F.element_at(F.split(F.lit(",".join(table)), ","), index + 1).cast("int")
    return F.when(F.col(_CATEGORY).rlike(_ICD), found).otherwise(F.lit(len(values) - 1))


def _index_category(category: str) -> int:
    return _LETTERS.index(category[0]) * 100 + int(category[1:3])


def _locate_group(lists: PublicLists) -> Column:
    """Group of a department, by the position of the department."""
    groups = lists.values["department_group"]
    table = [groups.index(lists.parents["department"][name]) for name in lists.values["department"]]
    position = locate_value(F.col("department"), lists.values["department"])
    return F.element_at(F.array(*(F.lit(at) for at in table)), position + 1)
