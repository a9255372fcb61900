"""Canaries: planted where promised, marked as gold where they are PHI, in the clear where they are prose."""

from __future__ import annotations

import re

from ppsehr_spark.config import SimulateSettings
from ppsehr_spark.synthesis.simulator import (
    CANARIES,
    CANARY_PATIENTS,
    PHI_CANARIES,
    PROSE_CANARIES,
    simulate_patient,
)
from ppsehr_spark.synthesis.simulator.people import compute_id_check

SEEDS = (1, 20240601, 77)


def test_canaries_do_not_depend_on_the_seed() -> None:
    for seed in SEEDS:
        for canary in CANARY_PATIENTS:
            patient = simulate_patient(canary.index, SimulateSettings(seed=seed)).patient
            assert (patient.name, patient.id_number, patient.phone) == (canary.name, canary.id_number, canary.phone)
            assert (patient.sex, patient.birth_date) == (canary.sex, canary.birth_date)


def test_phi_canaries_are_gold_and_prose_is_clear() -> None:
    seen: set[str] = set()
    for seed in SEEDS:
        for canary in CANARY_PATIENTS:
            for note in simulate_patient(canary.index, SimulateSettings(seed=seed)).notes:
                for marker in CANARIES:
                    for found in re.finditer(re.escape(marker), note.text):
                        covered = [s for s in note.spans if s.start < found.end() and found.start() < s.end]
                        assert bool(covered) == (marker in PHI_CANARIES)
                        seen.add(marker)
    assert seen >= set(PROSE_CANARIES)
    assert seen >= {canary.name for canary in CANARY_PATIENTS} | {canary.phone for canary in CANARY_PATIENTS}


def test_nobody_else_carries_them() -> None:
    planted = {canary.index for canary in CANARY_PATIENTS}
    for index in sorted(set(range(200)) - planted):
        for note in simulate_patient(index, SimulateSettings()).notes:
            assert not [marker for marker in CANARIES if marker in note.text]


def test_identity_numbers_of_canaries_are_valid() -> None:
    for canary in CANARY_PATIENTS:
        assert canary.id_number[17] == compute_id_check(canary.id_number[:17])
        assert canary.id_number[6:14] == f"{canary.birth_date:%Y%m%d}"
