"""Synthetic records: noised marginals -> a model -> patients with several visits in order of time.

Knows: public code lists and what has been released. Must not know: real records, engines, notes.
"""

from ppsehr_spark.synthesis.records.shapes import SyntheticEncounter as SyntheticEncounter
from ppsehr_spark.synthesis.records.shapes import SyntheticPatient as SyntheticPatient
