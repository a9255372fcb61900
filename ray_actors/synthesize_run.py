"""The synthesize job: draw patients once, then write notes on a pool of actors until none is open or the budget ends.

Knows: what makes a data set, which visits lack a note, when a run ends. Must not know: Ray (``cluster``), prompts,
what makes a note acceptable. Drawing and writing are post-processing of what has been released: no ledger is asked.

Crash points: ``synthesize.after_encounters``, ``.after_patients``, ``.before_notes``, ``.after_notes``.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ppsehr_spark.config import Settings, hash_values
from ppsehr_spark.domain.rules import compile_rules
from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.record_model_store import StoredModel, read_record_model
from ppsehr_spark.lake.synthetic_store import read_note_ids, read_patients, write_notes, write_patients
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.synthesis.narratives import compile_narratives
from ppsehr_spark.synthesis.narratives.screening import OK, make_note_id
from ppsehr_spark.synthesis.records import SyntheticPatient
from ray_actors.dispatch import Dispatch, Task
from ray_actors.note_writers import name_writer, open_writer
from ray_actors.pool_plan import plan_pool
from ray_actors.record_draw import PatientDraw
from ray_actors.synthesizer import NoteRequest, SynthesisResult
from ray_actors.usage import Usage

_MAX_ATTEMPTS = 2
_CALL_TIMEOUT_S = 1_800.0
#: Settings of [synthesize] that change what is written; the others only change how fast or how far.
_CONTENT_KEYS = ("n_patients", "seed", "generator", "max_note_tokens", "temperature")


@dataclass
class SynthesizeCounts:
    """What a run adds up to; ``outcomes`` of the notes written in it, and what is still open."""

    n_patients: int = 0
    n_encounters: int = 0
    n_open_before: int = 0
    n_failed: int = 0
    n_checks: int = 0
    n_agreed: int = 0
    usage: Usage = field(default_factory=Usage)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, result: SynthesisResult) -> None:
        """Add what one unit came to."""
        self.usage += result.usage
        self.n_failed += len(result.failed)
        for row in result.rows:
            self.outcomes[row["outcome"]] += 1
            self.n_checks += row["n_checks"]
            self.n_agreed += row["n_agreed"]

    def to_dict(self) -> dict[str, int]:
        """Flat counts; names are the keys of the run record."""
        n_written = self.outcomes.total()
        dropped = {f"dropped_{code}": n for code, n in sorted(self.outcomes.items()) if code != OK}
        return {
            "patients": self.n_patients,
            "encounters": self.n_encounters,
            "notes": self.outcomes[OK],
            "dropped": n_written - self.outcomes[OK],
            **dropped,
            "checks": self.n_checks,
            "agreed": self.n_agreed,
            "prompt_tokens": self.usage.prompt_tokens,
            "cached_tokens": self.usage.cached_tokens,
            "output_tokens": self.usage.output_tokens,
            "failed": self.n_failed,
            "open_encounters": self.n_open_before - n_written,
        }


@dataclass(frozen=True)
class Dataset:
    """A data set to be: its id, the record model behind it, and the settings its notes are written under."""

    dataset_id: str
    stored: StoredModel
    settings: Settings


def plan_dataset(lake: Lake, settings: Settings) -> Dataset:
    """Everything that decides the content of the data set, hashed, before anything is loaded.

    Raises:
        InputError: ``NO_RECORD_MODEL``.
    """
    stored = read_record_model(lake)
    values = dataclasses.asdict(settings.synthesize)
    content = {
        "model_id": stored.model_id,
        "synthesize": {key: values[key] for key in _CONTENT_KEYS},
        "narratives": compile_narratives(settings.files).version,
        "knowledge": compile_rules(settings.files).knowledge_version,
        "writer": name_writer(settings),
    }
    return Dataset(hash_values(content), stored, settings)


def open_requests(lake: Lake, dataset: Dataset, patients: Sequence[SyntheticPatient]) -> list[list[NoteRequest]]:
    """Units of visits without a note row, cut at fixed places, so that a resumed run forms the same units."""
    done = read_note_ids(lake, dataset_id=dataset.dataset_id)
    requests = [
        NoteRequest(make_note_id(dataset.dataset_id, visit.synthetic_encounter_id), visit, patient)
        for patient in patients
        for visit in patient.encounters
    ]
    size = max(1, dataset.settings.synthesize.notes_per_unit)
    units = [requests[at : at + size] for at in range(0, len(requests), size)]
    left = [[request for request in unit if request.note_id not in done] for unit in units]
    return [unit for unit in left if unit]


def synthesize_lake(lake: Lake, *, settings: Settings, run_id: str, progress: Any) -> SynthesizeCounts:
    """Draw the patients unless they stand, then write what notes are open.

    Args:
        progress: a tqdm-like bar that counts notes.

    Raises:
        InputError: ``NO_RECORD_MODEL``, ``NO_CHECKPOINT`` for the trained generator.
        InfrastructureError: ``INTERRUPTED`` after SIGTERM, ``ENGINE_DOWN`` when nothing but failures come back; what
            was written before is committed in both cases.
    """
    with open_writer(lake, settings) as chosen:
        return _fill(lake, plan_dataset(lake, chosen), run_id=run_id, progress=progress)


def _fill(lake: Lake, dataset: Dataset, *, run_id: str, progress: Any) -> SynthesizeCounts:
    """Draw beside the start of the engine; start no engine when nothing is open or nothing may be spent."""
    wants = dataset.settings.synthesize
    standing = read_patients(lake, dataset_id=dataset.dataset_id)
    draw = (
        None
        if standing
        else PatientDraw(dataset.stored.domain, dataset.stored.marginals, n_patients=wants.n_patients, seed=wants.seed)
    )
    work = _Work(lake, dataset, run_id, progress)
    may_write = wants.engine != "rules" and wants.token_budget > 0
    if draw is None or not may_write:
        units = work.open_units(standing if draw is None else work.store(draw.result()))
        if not (units and may_write):
            return work.counts
    _write_open(work, draw)
    return work.counts


def _write_open(work: _Work, draw: PatientDraw | None) -> None:
    """Start the engine, wait for the patients, write until nothing is open or the budget ends."""
    from ray_actors.cluster import actor_pool, ray_session, stop_on_sigterm  # Ray takes seconds to import

    settings = work.dataset.settings
    worker = "ray_actors.synthesizer:Synthesizer"
    plan = plan_pool(settings, settings.synthesize, worker=worker, call_timeout_s=_CALL_TIMEOUT_S)
    with ray_session(plan.n_cpus), stop_on_sigterm() as stop, actor_pool(plan, stop) as pool:
        units = work.open_units(work.store(draw.result())) if draw else work.units
        tasks = [Task(f"unit-{at:04d}", tuple(r.note_id for r in unit)) for at, unit in enumerate(units)]
        dispatch = Dispatch(tasks, token_budget=settings.synthesize.token_budget, max_attempts=_MAX_ATTEMPTS)
        while not (dispatch.is_done or dispatch.is_hopeless or stop.is_set()):
            work.turn(dispatch, pool)
        dispatch.settle()
        work.counts.n_failed += len(dispatch.take_letters())
    if stop.is_set():
        raise InfrastructureError("INTERRUPTED", hint="finished units are committed; run again to go on")
    if dispatch.is_hopeless:
        raise InfrastructureError("ENGINE_DOWN", engine=settings.synthesize.engine, hint="every unit failed")


@dataclass
class _Work:
    """The data set of one run, its open notes, and where rows go."""

    lake: Lake
    dataset: Dataset
    run_id: str
    progress: Any
    units: list[list[NoteRequest]] = field(default_factory=list)
    counts: SynthesizeCounts = field(default_factory=SynthesizeCounts)

    def store(self, patients: tuple[SyntheticPatient, ...]) -> tuple[SyntheticPatient, ...]:
        """Write drawn patients, once."""
        about = {"dataset_id": self.dataset.dataset_id, "model_id": self.dataset.stored.model_id}
        write_patients(self.lake, patients, run_id=self.run_id, **about)
        return patients

    def open_units(self, patients: Sequence[SyntheticPatient]) -> list[list[NoteRequest]]:
        """What is left to write of these patients; the counts begin with it."""
        self.units = open_requests(self.lake, self.dataset, patients)
        self.counts.n_patients = len(patients)
        self.counts.n_encounters = sum(len(patient.encounters) for patient in patients)
        self.counts.n_open_before = self.progress.total = sum(len(unit) for unit in self.units)
        return self.units

    def turn(self, dispatch: Dispatch, pool: Any) -> None:
        """Hand out what can be handed out, then take back and commit what is finished."""
        requests = {request.note_id: request for unit in self.units for request in unit}
        while pool.n_idle and (task := dispatch.take(pool.n_idle)):
            pool.submit(task, "write_notes", [requests[key] for key in task.segment_keys], task.token_limit)
        for task, outcome in pool.collect():
            if isinstance(outcome, SynthesisResult):
                dispatch.finish(task, spent_tokens=outcome.usage.charged, open_keys=outcome.open_ids)
                self.counts.add(outcome)
                write_notes(self.lake, outcome.rows, dataset_id=self.dataset.dataset_id, run_id=self.run_id)
                self.progress.update(len(outcome.rows))
            else:
                dispatch.fail(task, error_code=outcome.code)
        self.counts.n_failed += len(dispatch.take_letters())
