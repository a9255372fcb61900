"""Synthetic records: noised marginals -> a model -> patients with several visits in order of time.

Knows: public code lists and what has been released. Must not know: real records, engines, notes.
"""

from ppsehr_spark.synthesis.records.domain import RecordDomain as RecordDomain
from ppsehr_spark.synthesis.records.domain import decode_domain as decode_domain
from ppsehr_spark.synthesis.records.domain import encode_domain as encode_domain
from ppsehr_spark.synthesis.records.estimation import estimate as estimate
from ppsehr_spark.synthesis.records.marginals import Marginal as Marginal
from ppsehr_spark.synthesis.records.marginals import ReleasedMarginal as ReleasedMarginal
from ppsehr_spark.synthesis.records.marginals import count_cells as count_cells
from ppsehr_spark.synthesis.records.marginals import tabulate as tabulate
from ppsehr_spark.synthesis.records.model import RecordModel as RecordModel
from ppsehr_spark.synthesis.records.plan import RecordPlan as RecordPlan
from ppsehr_spark.synthesis.records.plan import parse_record_plan as parse_record_plan
from ppsehr_spark.synthesis.records.release import make_model_id as make_model_id
from ppsehr_spark.synthesis.records.release import release_marginals as release_marginals
from ppsehr_spark.synthesis.records.sampling import sample_patients as sample_patients
from ppsehr_spark.synthesis.records.shapes import SyntheticEncounter as SyntheticEncounter
from ppsehr_spark.synthesis.records.shapes import SyntheticPatient as SyntheticPatient
from ppsehr_spark.synthesis.records.validity import find_impossibility as find_impossibility
