"""Record model -> synthetic patients, visits and notes (Ray): drawn once, written by Qwen, screened one by one."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from ppsehr_spark.lake import schemas
from ppsehr_spark.lake.synthetic_store import read_patients
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ray_actors.note_writers import TRAINED, open_writer
from ray_actors.synthesize_run import open_requests, plan_dataset, synthesize_lake


def _body(context: RunContext) -> StageResult:
    with context.progress(unit="note") as progress:
        counts = synthesize_lake(context.lake, settings=context.settings, run_id=context.run_id, progress=progress)
    return StageResult(counts.to_dict(), is_partial=counts.n_failed > 0)


def _plan(context: RunContext) -> Mapping[str, object]:
    wants = context.settings.synthesize
    plan: dict[str, object] = {
        "generator": wants.generator,
        "engine": wants.engine,
        "token_budget": wants.token_budget,
        "patients": wants.n_patients,
    }
    needed = (schemas.RECORD_MODEL, *((schemas.CHECKPOINTS,) if wants.generator == TRAINED else ()))
    is_ready = all(context.lake.version(spec) is not None for spec in needed)
    return {**plan, **_standing(context)} if is_ready else plan


def _standing(context: RunContext) -> dict[str, object]:
    """The data set that this run would fill, and how far it is."""
    with open_writer(context.lake, context.settings) as settings:
        dataset = plan_dataset(context.lake, settings)
    patients = read_patients(context.lake, dataset_id=dataset.dataset_id)
    n_open = sum(len(unit) for unit in open_requests(context.lake, dataset, patients))
    return {"dataset": dataset.dataset_id, "patients_drawn": len(patients), "open_encounters": n_open}


STAGE = Stage(
    name="synthesize",
    help=__doc__,
    body=_body,
    inputs=(schemas.RECORD_MODEL, schemas.CHECKPOINTS),
    conf_sections=("synthesize", "engine"),
    conf_files=("narratives/", "prompts/narrative", "categories/", "lexicons/", "tiers", "codelists/"),
    # notes may be left open by the budget: then there is something to do although no input changed
    fingerprint=lambda context: _plan(context),
    plan=_plan,
    work=lambda context: context.settings.synthesize.n_patients,
    writes=(schemas.SYNTHETIC_PATIENTS, schemas.SYNTHETIC_ENCOUNTERS, schemas.SYNTHETIC_NOTES),
    example="python jobs/synthesize.py --lake .state/lake --set synthesize.n_patients=50",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
