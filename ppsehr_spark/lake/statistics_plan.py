"""What the catalogue would release, planned from conf alone: public lists, their order and which list refines which.

Knows: the names that ``conf/releases.toml`` may use. Must not know: data, how a row is found to belong to a cell
(that is ``spark.statistics.cells``). Gates, the plan for people and the stage plan by the same function.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.codelists import (
    OTHER_CHAPTER,
    OTHER_DEPARTMENT,
    OTHER_GROUP,
    Block,
    Chapter,
    CodeLists,
    load_codelists,
)
from ppsehr_spark.domain.taxonomy import load_categories
from ppsehr_spark.privacy.catalogue import Catalogue, parse_catalogue
from ppsehr_spark.privacy.consistency import Cell
from ppsehr_spark.privacy.policy import parse_policy
from ppsehr_spark.privacy.releases import PlannedRelease, plan_releases

#: Kinds of visit as sources of ours name them, and where everything else falls.
_ENCOUNTER_TYPES = ("门诊", "住院", "急诊", "其他")
_SEXES = ("M", "F", "其他")
_TIERS = ("1", "2", "3")
#: A category that carries no tiers, or a span without one.
NO_TIER = "-"
LENGTH_OF_STAY, AGE = "length_of_stay_days", "age_years"
#: Whole numbers of a visit, and of a patient.
MEASURES = frozenset({LENGTH_OF_STAY, AGE})
VISITS_PER_PATIENT, MARKS_PER_PATIENT = "visits_per_patient", "marked_kinds_per_patient"
PATIENT_MEASURES = frozenset({VISITS_PER_PATIENT, MARKS_PER_PATIENT})
#: What keys may be selected from by threshold: the main diagnosis as it is coded.
DIAGNOSIS_CODE = "diagnosis_code"
PRIVATE_KEYS = frozenset({DIAGNOSIS_CODE})


@dataclass(frozen=True)
class PublicLists:
    """All public keys of one conf folder.

    Attributes:
        values: list name -> values in order, the one for all others last.
        chapters: ICD-10 chapters by first category.
        span_cells: (category, tier) in order; the tier is ``-`` where there is none.
        blocks: ICD-10 blocks by first category.
        parents: list -> value -> the value of the coarser list that it belongs to.
        coarser: list -> the list that it refines.
    """

    values: Mapping[str, tuple[str, ...]]
    chapters: tuple[Chapter, ...]
    span_cells: tuple[Cell, ...]
    blocks: tuple[Block, ...] = ()
    parents: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    coarser: Mapping[str, str] = field(default_factory=dict)


def load_public_lists(files: Mapping[str, str]) -> PublicLists:
    """Read code lists and categories out of conf (path below ``conf/`` -> text)."""
    codes = load_codelists(files)
    departments = (*(name for name in codes.departments if name != OTHER_DEPARTMENT), OTHER_DEPARTMENT)
    categories = [category for category in load_categories(files).values() if category.enabled]
    span_cells = [
        (("category", category.id), ("tier", tier))
        for category in categories
        for tier in ((*_TIERS, NO_TIER) if category.is_tiered else (NO_TIER,))
    ]
    groups = {name: codes.department_groups.get(name, OTHER_GROUP) for name in departments}
    block_chapters = {block.code: codes.find_chapter(block.first) for block in codes.blocks}
    values = {
        "department": departments,
        "department_group": (*dict.fromkeys(g for g in groups.values() if g != OTHER_GROUP), OTHER_GROUP),
        "chapter": (*(chapter.number for chapter in codes.chapters), OTHER_CHAPTER),
        "block": (*block_chapters, OTHER_CHAPTER),
        "encounter_type": _ENCOUNTER_TYPES,
        "sex": _SEXES,
    }
    codes_of = _list_icd_codes(codes)
    values["icd_code"] = (*codes_of, OTHER_CHAPTER)
    parents = {
        "department": groups,
        "block": {**block_chapters, OTHER_CHAPTER: OTHER_CHAPTER},
        "icd_code": {**codes_of, OTHER_CHAPTER: OTHER_CHAPTER},
    }
    coarser = {"department": "department_group", "block": "chapter", "icd_code": "block"}
    return PublicLists(values, codes.chapters, tuple(span_cells), codes.blocks, parents, coarser)


def read_catalogue(settings: Settings) -> Catalogue:
    """``conf/releases.toml`` under the total delta of ``conf/privacy.toml``."""
    return _read_catalogue(settings.files, load_public_lists(settings.files))


def plan_stage(settings: Settings) -> tuple[tuple[PlannedRelease, ...], PublicLists]:
    """Every release of ``conf/releases.toml`` with its cost and noise; reads conf alone."""
    return plan_files(settings.files)


def plan_files(files: Mapping[str, str]) -> tuple[tuple[PlannedRelease, ...], PublicLists]:
    """The same from conf as path below ``conf/`` -> text."""
    lists = load_public_lists(files)
    catalogue = _read_catalogue(files, lists)
    return plan_catalogue(catalogue, lists), lists


def plan_catalogue(catalogue: Catalogue, lists: PublicLists) -> tuple[PlannedRelease, ...]:
    """Every release of a catalogue over these lists."""
    return plan_releases(catalogue, lists=lists.values, span_cells=lists.span_cells, parents=lists.parents)


def _read_catalogue(files: Mapping[str, str], lists: PublicLists) -> Catalogue:
    return parse_catalogue(
        files,
        delta=parse_policy(files).total.delta,
        lists={name: frozenset(values) for name, values in lists.values.items()},
        measures=MEASURES,
        patient_measures=PATIENT_MEASURES,
        parents=lists.coarser,
        private_keys=PRIVATE_KEYS,
    )


def _list_icd_codes(codes: CodeLists) -> dict[str, str]:
    """Three-character categories of the public diagnoses with their block; a block's own code stands for its rest."""
    categories = sorted({diagnosis.code[:3] for diagnosis in codes.diagnoses})
    found = {}
    for block in codes.blocks:
        own = [category for category in categories if block.first <= category <= block.last]
        found |= dict.fromkeys([*own, block.code], block.code)
    return found
