"""Public code lists: the only keys that statistics and synthesis may use.

Knows: departments, wards, places, ICD-10 chapters, blocks and diagnoses as they stand in the files of
``conf/codelists/``. Must not know: the values that stand in the data (keys taken from data would themselves be a
release). Reference: ICD-10, WHO, chapters by three-character category.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

from ppsehr_spark.errors import ConfigurationError

#: Where a value falls that the list does not name.
OTHER_DEPARTMENT = "其他科室"
OTHER_CHAPTER = "其他"
OTHER_GROUP = "其他系统"
OTHER_REGION = "其他地区"
_FOLDER = "codelists/"
_WARDS, _CITIES = "wards.tsv", "cities.tsv"
_CATEGORY_CHARS = 3


@dataclass(frozen=True)
class Chapter:
    """One ICD-10 chapter: its Roman number, first and last three-character category, and title in Chinese."""

    number: str
    first: str
    last: str
    title: str


@dataclass(frozen=True)
class Block:
    """One ICD-10 block: its code such as ``A00-A09``, first and last three-character category."""

    code: str
    first: str
    last: str


@dataclass(frozen=True)
class Diagnosis:
    """A diagnosis of the public list and whom it can befall.

    Attributes:
        sex: ``M``, ``F`` or empty for both.
        age_low, age_high: completed years, both included.
    """

    code: str
    name: str
    department: str
    sex: str
    age_low: int
    age_high: int

    def fits(self, *, sex: str, age_years: int) -> bool:
        """True when this diagnosis is possible for this sex at this age."""
        return self.sex in ("", sex) and self.age_low <= age_years <= self.age_high


@dataclass(frozen=True)
class CodeLists:
    """All lists of one conf folder; blocks, groups, wards and cities are empty where a folder has no such file.

    Attributes:
        department_groups: department -> group.
        wards: ward -> department.
        cities: prefecture-level city -> province; municipalities are their own city.
    """

    departments: tuple[str, ...]
    chapters: tuple[Chapter, ...]
    diagnoses: tuple[Diagnosis, ...]
    blocks: tuple[Block, ...] = ()
    department_groups: Mapping[str, str] = field(default_factory=dict)
    wards: Mapping[str, str] = field(default_factory=dict)
    cities: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def _firsts(self) -> list[str]:
        return [chapter.first for chapter in self.chapters]

    @cached_property
    def _known_departments(self) -> frozenset[str]:
        return frozenset(self.departments)

    def find_department(self, name: str | None) -> str:
        """The department itself when the list names it, else ``OTHER_DEPARTMENT``."""
        return name if name in self._known_departments else OTHER_DEPARTMENT

    def find_chapter(self, code: str | None) -> str:
        """Roman number of the chapter of an ICD-10 code, else ``OTHER_CHAPTER``."""
        category = (code or "").strip().upper()[:_CATEGORY_CHARS]
        at = bisect_right(self._firsts, category) - 1
        return self.chapters[at].number if at >= 0 and category <= self.chapters[at].last else OTHER_CHAPTER


def load_codelists(files: Mapping[str, str]) -> CodeLists:
    """Read the lists out of conf.

    Args:
        files: path below ``conf/`` -> text.

    Raises:
        ConfigurationError: ``CODE_LIST`` with file and line for a line of another form.
    """
    departments = tuple(row[0] for row in _read(files, "departments.tsv", 1))
    chapters = sorted((Chapter(*row) for row in _read(files, "icd10_chapters.tsv", 4)), key=lambda item: item.first)
    return CodeLists(
        departments=departments,
        chapters=tuple(chapters),
        diagnoses=tuple(_to_diagnosis(row) for row in _read(files, "diagnoses.tsv", 6)),
        blocks=tuple(
            sorted((Block(*row) for row in _read_if_any(files, "icd10_blocks.tsv", 3)), key=lambda b: b.first)
        ),
        department_groups={row[0]: row[1] for row in _read_if_any(files, "department_groups.tsv", 2)},
        wards=_read_wards(files, frozenset(departments)),
        cities=_read_cities(files),
    )


def _read_wards(files: Mapping[str, str], departments: frozenset[str]) -> dict[str, str]:
    """Ward -> department; a department's own name stands for its visits without a ward, so no ward may bear it."""
    wards = {row[0]: row[1] for row in _read_if_any(files, _WARDS, 2)}
    for ward, department in wards.items():
        if department not in departments:
            raise _refuse_row(_WARDS, ward, "each department stands in departments.tsv, too")
        if ward in departments or ward == OTHER_DEPARTMENT:
            raise _refuse_row(_WARDS, ward, "no ward bears the name of a department")
    return wards


def _read_cities(files: Mapping[str, str]) -> dict[str, str]:
    """City -> province; a province's own name stands for its people of unknown city."""
    cities = {row[0]: row[1] for row in _read_if_any(files, _CITIES, 2)}
    for city, region in cities.items():
        if OTHER_REGION in (city, region) or (city in cities.values() and city != region):
            raise _refuse_row(_CITIES, city, "no city bears the name of another province, nor that of all others")
    return cities


def _refuse_row(name: str, entry: str, hint: str) -> ConfigurationError:
    return ConfigurationError("CODE_LIST", file=f"{_FOLDER}{name}", entry=entry, hint=hint)


def _read_if_any(files: Mapping[str, str], name: str, n_columns: int) -> list[tuple[str, ...]]:
    return _read(files, name, n_columns) if f"{_FOLDER}{name}" in files else []


def _read(files: Mapping[str, str], name: str, n_columns: int) -> list[tuple[str, ...]]:
    path = f"{_FOLDER}{name}"
    if path not in files:
        raise ConfigurationError("CONF_MISSING", file=path)
    rows = []
    for number, line in enumerate(files[path].splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        row = tuple(cell.strip() for cell in line.split("\t"))
        if len(row) != n_columns:
            hint = f"{n_columns} columns, parted by tabs"
            raise ConfigurationError("CODE_LIST", file=path, line=number, hint=hint)
        rows.append(row)
    if len({row[0] for row in rows}) != len(rows) or not rows:
        raise ConfigurationError("CODE_LIST", file=path, hint="the first column must name each line once")
    return rows


def _to_diagnosis(row: tuple[str, ...]) -> Diagnosis:
    try:
        low, high = int(row[4]), int(row[5])
    except ValueError:
        raise ConfigurationError("CODE_LIST", file=f"{_FOLDER}diagnoses.tsv", hint="ages are whole years") from None
    if row[3] not in ("", "M", "F") or not 0 <= low <= high:
        raise ConfigurationError("CODE_LIST", file=f"{_FOLDER}diagnoses.tsv", hint="sex is M, F or empty")
    return Diagnosis(row[0], row[1], row[2], row[3], low, high)
