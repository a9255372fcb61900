"""Made-up patients with visits and marked notes, a lake that holds them, and a count of them in plain Python."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa
from deltalake import write_deltalake

from ppsehr_spark.domain.codelists import OTHER_DEPARTMENT, load_codelists
from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.releases import PlannedRelease

DEPARTMENTS = ("心血管内科", "消化内科", "产科", "not listed", None)
CODES = ("I21.900", "k80.100", " J18.900", "Z99.9", "U07.100", "", None, "???")
KINDS = ("住院", "门诊", "急诊", "体检")
CATEGORIES = ("NAME", "CONTACT", "STD", "ADDRESS", "unlisted")
#: Purposes that the aggregation mixes into its hashes.
ITEMS, CELLS = "stats.items", "stats.cells"
Hash = Callable[[str, str], int]


@dataclass(frozen=True)
class Patient:
    """One patient with rows as the tables hold them; ``marks`` are (category, tier) lists, one per note."""

    key: str
    visits: tuple[dict[str, Any], ...]
    marks: tuple[tuple[tuple[str, int | None], ...], ...]


def make_patients(n: int, *, seed: int = 1) -> list[Patient]:
    """Patients of 0-6 visits, and a first one with sixty that would outweigh all others."""
    generator = random.Random(seed)
    return [_make_patient(f"{i:032x}", 60 if i == 0 else generator.randrange(7), generator) for i in range(n)]


def write_lake(lake: Lake, patients: Sequence[Patient]) -> None:
    """Overwrite the three tables that statistics read."""
    visits = [visit for patient in patients for visit in patient.visits]
    notes, annotations = [], []
    for patient in patients:
        for position, marks in enumerate(patient.marks):
            note_key = f"{patient.key}-{position}"
            spans = [{"start": i, "end": i + 1, "category": c, "tier": t} for i, (c, t) in enumerate(marks)]
            notes.append({"note_key": note_key, "patient_key": patient.key, "text": "", "n_chars": 10 * position})
            annotations.append({"note_key": note_key, "text_hash": "", "spans": spans})
    for spec, rows in ((schemas.ENCOUNTERS, visits), (schemas.NOTES, notes), (schemas.ANNOTATIONS, annotations)):
        filled = [{**_blank(spec), **row} for row in rows]
        write_deltalake(lake.table_uri(spec), pa.Table.from_pylist(filled, schema=spec.schema), mode="overwrite")


def count_plainly(
    planned: PlannedRelease, patients: Sequence[Patient], files: Mapping[str, str], hash_of: Hash
) -> list[int]:
    """What the aggregation must come to: rules of the catalogue spelled out row by row, no Spark but the hash."""
    totals: Counter[int] = Counter()
    for patient in patients:
        items = _list_items(planned, patient, files)
        if planned.release.max_encounters:
            items = sorted(items, key=lambda item: hash_of(item[0], ITEMS))[: planned.release.max_encounters]
        amounts: defaultdict[int, int] = defaultdict(int)
        for _, cell in items:
            amounts[cell] += 1
        chosen = sorted(amounts, key=lambda cell: hash_of(f"{patient.key}:{cell}", CELLS))
        is_quantile = bool(planned.release.candidates)
        most = len(chosen) if is_quantile else planned.release.max_cells
        for cell in chosen[:most]:
            totals[cell] += amounts[cell] if is_quantile else min(amounts[cell], planned.release.max_per_cell)
    return [totals[cell] for cell in range(planned.n_counted)]


def list_hashed(patients: Sequence[Patient], n_cells: int) -> list[tuple[str, str]]:
    """Every (key, purpose) that ``count_plainly`` may ask a hash for."""
    items = [(visit["encounter_key"], ITEMS) for patient in patients for visit in patient.visits]
    return items + [(f"{patient.key}:{cell}", CELLS) for patient in patients for cell in range(n_cells)]


def _list_items(planned: PlannedRelease, patient: Patient, files: Mapping[str, str]) -> list[tuple[str, int]]:
    release = planned.release
    if release.kind == "spans":
        marks = {mark for note in patient.marks for mark in note}
        cells = [(("category", c), ("tier", "-" if t is None else str(t))) for c, t in marks]
        return [("", planned.cells.index(cell)) for cell in cells if cell in planned.cells]
    lists = load_codelists(files)
    found = []
    for visit in patient.visits:
        codes = visit["diagnosis_codes"]
        keys = {
            "department": lists.find_department(visit["department"]) or OTHER_DEPARTMENT,
            "chapter": lists.find_chapter(codes[0] if codes else None),
            "encounter_type": visit["encounter_type"] if visit["encounter_type"] in KINDS[:3] else "其他",
        }
        if any(keys[name] != value for name, value in release.only.items()):
            continue
        if release.kind == "count":
            found.append((visit["encounter_key"], planned.cells.index(tuple((k, keys[k]) for k in release.keys))))
        elif visit["discharged_at"] is not None:
            days = max(0, (visit["discharged_at"].date() - visit["admitted_at"].date()).days)
            lows = release.edges or release.candidates
            found.append((visit["encounter_key"], max(i for i, low in enumerate(lows) if low <= days)))
    return found


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
    return Patient(key, tuple(visits), tuple(marks))


def _blank(spec: schemas.TableSpec) -> dict[str, Any]:
    return {field.name: (None if field.nullable else "") for field in spec.schema}
