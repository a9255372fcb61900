"""Made-up patients with visits and marked notes, a lake that holds them, and a count of them in plain Python."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from ppsehr_spark.domain.codelists import (
    OTHER_CHAPTER,
    OTHER_DEPARTMENT,
    OTHER_GROUP,
    OTHER_REGION,
    CodeLists,
    load_codelists,
)
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.key_forms import encode_key
from ppsehr_spark.privacy.releases import PlannedRelease

WARDS = ("心血管内科一病区", "产科二病区", "not listed", None, None)
HOMES = (
    ("浙江省", "杭州市"),
    ("浙江省", None),
    ("北京市", "北京市"),
    ("浙江省", "not listed"),
    (None, None),
    ("?", "!"),
)
DEPARTMENTS = ("心血管内科", "消化内科", "产科", "not listed", None)
CODES = ("I21.900", "k80.100", " J18.900", "I22.900", "Z99.9", "U07.100", "A12.X01", "", None, "???")
KINDS = ("住院", "门诊", "急诊", "体检")
CATEGORIES = ("NAME", "CONTACT", "STD", "ADDRESS", "unlisted")
#: Purposes that the aggregation mixes into its hashes.
ITEMS, CELLS = "stats.items", "stats.cells"
Hash = Callable[[str, str], int]
ALL_BITS, ODD = 2**64 - 1, 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Patient:
    """One patient with rows as the tables hold them; ``marks`` are (category, tier) lists, one per note."""

    key: str
    visits: tuple[dict[str, Any], ...]
    marks: tuple[tuple[tuple[str, int | None], ...], ...]
    sex: str | None = None
    born: date | None = None
    home: tuple[str | None, str | None] = (None, None)


def make_patients(n: int, *, seed: int = 1) -> list[Patient]:
    """Patients of 0-6 visits, and a first one with sixty that would outweigh all others."""
    generator = random.Random(seed)
    return [_make_patient(f"{i:032x}", 60 if i == 0 else generator.randrange(7), generator) for i in range(n)]


def write_lake(lake: Lake, patients: Sequence[Patient]) -> None:
    """Overwrite the four tables that statistics read."""
    visits = [visit for patient in patients for visit in patient.visits]
    notes, annotations = [], []
    for patient in patients:
        for position, marks in enumerate(patient.marks):
            note_key = f"{patient.key}-{position}"
            spans = [{"start": i, "end": i + 1, "category": c, "tier": t} for i, (c, t) in enumerate(marks)]
            notes.append({"note_key": note_key, "patient_key": patient.key, "text": "", "n_chars": 10 * position})
            annotations.append({"note_key": note_key, "text_hash": "", "spans": spans})
    people = [
        {"patient_key": p.key, "sex": p.sex, "birth_date": p.born, "region": p.home[0], "city": p.home[1]}
        for p in patients
    ]
    tables = ((schemas.ENCOUNTERS, visits), (schemas.NOTES, notes), (schemas.ANNOTATIONS, annotations))
    for spec, rows in (*tables, (schemas.PATIENTS, people)):
        filled = [{**_blank(spec), **row} for row in rows]
        write_deltalake(lake.table_uri(spec), pa.Table.from_pylist(filled, schema=spec.schema), mode="overwrite")


def count_plainly(
    planned: PlannedRelease, patients: Sequence[Patient], files: Mapping[str, str], hash_of: Hash
) -> list[int] | dict[int, int]:
    """What the aggregation must come to: rules of the catalogue spelled out row by row, no Spark but the hash."""
    totals = Counter(code for patient in patients for code in keep_plainly(planned, patient, files, hash_of))
    if planned.release.kind == "threshold":
        return dict(totals)
    return [totals[cell] for cell in range(planned.n_counted)]


def keep_plainly(planned: PlannedRelease, patient: Patient, files: Mapping[str, str], hash_of: Hash) -> list[int]:
    """Positions that one patient adds 1 to, a position as often as it is added to."""
    release = planned.release
    items = _list_items(planned, patient, files)
    if release.kind == "histogram" and release.measure in ("visits_per_patient", "marked_kinds_per_patient"):
        return [max(i for i, low in enumerate(release.edges) if low <= len(items))] if items else []
    if release.kind != "spans":
        items = sorted(items, key=lambda item: hash_of(item[0], ITEMS))
    if release.max_encounters:
        items = items[: release.max_encounters]
    if release.kind in ("quantile", "hierarchy", "contingency"):
        return [code for _, _, code in items]
    cells = sorted({cell for _, cell, _ in items}, key=lambda cell: mix(hash_of(patient.key, CELLS) ^ mix(cell + ODD)))
    kept = []
    for cell in cells[: release.max_cells]:
        kept += [code for _, own, code in items if own == cell][: release.max_per_cell]
    return kept


def list_hashed(
    planned: Sequence[PlannedRelease], patients: Sequence[Patient], files: Mapping[str, str]
) -> list[tuple[str, str]]:
    """Every (key, purpose) that ``count_plainly`` may ask a hash for."""
    pairs = {(visit["encounter_key"], ITEMS) for patient in patients for visit in patient.visits}
    for each in planned:
        pairs |= {(patient.key, CELLS) for patient in patients if _list_items(each, patient, files)}
    return sorted(pairs)


def mix(value: int) -> int:
    """SplitMix64's finaliser, in whole numbers below 2^64."""
    value &= ALL_BITS
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        value = ((value ^ value >> shift) * factor) & ALL_BITS
    return value ^ value >> 31


def read_keys(patient: Patient, visit: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """Public keys, month and measures of a visit, as a person would read them off."""
    lists = _load(tuple(sorted(files.items())))
    codes = visit["diagnosis_codes"]
    code = ((codes[0] if codes else None) or "").strip().upper()
    category = code[:3]
    blocks = [block.code for block in lists.blocks if block.first <= category <= block.last]
    is_icd = len(category) == 3 and category[0].isascii() and category[0].isalpha() and category[1:].isdecimal()
    block = blocks[0] if blocks and is_icd else OTHER_CHAPTER
    is_listed = any(diagnosis.code[:3] == category for diagnosis in lists.diagnoses)
    department = lists.find_department(visit["department"]) or OTHER_DEPARTMENT
    admitted, discharged, born = visit["admitted_at"].date(), visit["discharged_at"], patient.born
    age = born and admitted.year - born.year - ((admitted.month, admitted.day) < (born.month, born.day))
    return {
        "department": department,
        "ward": visit["ward"] if visit["ward"] in lists.wards else department,
        **read_home(patient, lists),
        "department_group": lists.department_groups.get(department, OTHER_GROUP),
        "chapter": lists.find_chapter(code),
        "block": block,
        "icd_code": category if is_listed and blocks else block,
        "encounter_type": visit["encounter_type"] if visit["encounter_type"] in KINDS[:3] else "其他",
        "sex": patient.sex if patient.sex in ("M", "F") else "其他",
        "month": f"{admitted:%Y-%m}",
        "diagnosis_code": code,
        "length_of_stay_days": None if discharged is None else max(0, (discharged.date() - admitted).days),
        "age_years": age,
    }


def read_home(patient: Patient, lists: CodeLists) -> dict[str, str]:
    """Province and city; a province stands for its people of unknown city."""
    region, city = patient.home
    known = region if region in lists.cities.values() else OTHER_REGION
    return {"region": known or OTHER_REGION, "city": city if city in lists.cities else known or OTHER_REGION}


@lru_cache(maxsize=1)
def _load(files: tuple[tuple[str, str], ...]) -> CodeLists:
    return load_codelists(dict(files))


def _list_items(planned: PlannedRelease, patient: Patient, files: Mapping[str, str]) -> list[tuple[str, int, int]]:
    """(key, cell, position) of everything of a patient that counts; cell and position differ with a clamped value."""
    release = planned.release
    marks = {mark for note in patient.marks for mark in note}
    if release.kind == "spans":
        cells = [(("category", c), ("tier", "-" if t is None else str(t))) for c, t in marks]
        return [("", at, at) for at in (planned.cells.index(cell) for cell in cells if cell in planned.cells)]
    if release.measure == "marked_kinds_per_patient":
        return [("", 0, 0) for _ in marks]
    found = []
    for visit in patient.visits:
        keys = read_keys(patient, visit, files)
        if any(keys[name] != value for name, value in release.only.items()):
            continue
        for cell, code in _locate(planned, keys):
            found.append((visit["encounter_key"], cell, code))
    return found


def _locate(planned: PlannedRelease, keys: Mapping[str, Any]) -> list[tuple[int, int]]:
    """Cell and position of a visit; none when it does not count."""
    release, value = planned.release, keys.get(planned.release.measure)
    if release.kind == "threshold":
        number = encode_key(release.form, keys["diagnosis_code"])
        return [] if number is None else [(number, number)]
    if release.measure == "visits_per_patient":
        return [(0, 0)]
    if release.measure and value is None:
        return []
    if release.kind in ("histogram", "quantile"):
        lows = release.edges or release.candidates
        at = max([0, *(i for i, low in enumerate(lows) if low <= value)])
        return [(at, at)]
    names = release.levels or release.keys
    wanted = tuple((name, keys[name]) for name in names)
    if planned.part.design:  # a base cell is what a released cell of all keys sums alone
        ends = [i for i, cell in enumerate(planned.cells) if len(cell) == len(names) and cell[-1] == wanted[-1]]
        at = planned.part.design[ends[0] if release.levels else planned.cells.index(wanted)][0]
    elif wanted not in planned.cells:
        return []
    else:
        at = planned.cells.index(wanted)
    if not release.clamp:
        return [(at, at)]
    low, high = release.clamp
    return [(at, at * (high - low + 1) + min(max(value, low), high) - low)]


def _make_patient(key: str, n_visits: int, generator: random.Random) -> Patient:
    visits = []
    for position in range(n_visits):
        admitted = datetime(2022, 1, 1, tzinfo=UTC) + timedelta(hours=generator.randrange(20_000))
        stay = timedelta(hours=int(generator.lognormvariate(4, 1.5)))
        visits.append(
            {
                "encounter_key": f"{key[-8:]}{position:024x}",
                "patient_key": key,
                "department": generator.choice(DEPARTMENTS),
                "ward": generator.choice(WARDS),
                "encounter_type": generator.choice(KINDS),
                "diagnosis_codes": generator.choice([None, [], [generator.choice(CODES), "A01.000"]]),
                "admitted_at": admitted,
                "discharged_at": None if generator.random() < 0.1 else admitted + stay,
            }
        )
    marks = [
        tuple((generator.choice(CATEGORIES), generator.choice([None, 1, 2, 3])) for _ in range(generator.randrange(5)))
        for _ in range(n_visits)
    ]
    born = date(1930, 1, 1) + timedelta(days=generator.randrange(34_000))
    sex, home = generator.choice(["M", "F", "", None]), generator.choice(HOMES)
    return Patient(key, tuple(visits), tuple(marks), sex, born, home)


def _blank(spec: schemas.TableSpec) -> dict[str, Any]:
    return {field.name: (None if field.nullable else "") for field in spec.schema}
