"""Fictional Chinese EMR patients with gold spans, deterministic by (seed, index).

Knows: everything about fiction. Must not know: Spark, files, the recognisers that are judged by this gold.
"""

from ppsehr_spark.synthesis.simulator.canaries import CANARIES, CANARY_PATIENTS, PHI_CANARIES, PROSE_CANARIES
from ppsehr_spark.synthesis.simulator.patients import simulate_patient, simulate_record
from ppsehr_spark.synthesis.simulator.records import Encounter, Patient, SimulatedNote, SimulatedPatient

__all__ = [
    "CANARIES",
    "CANARY_PATIENTS",
    "PHI_CANARIES",
    "PROSE_CANARIES",
    "Encounter",
    "Patient",
    "SimulatedNote",
    "SimulatedPatient",
    "simulate_patient",
    "simulate_record",
]
