"""The train job: one question to the ledger, one training, one checkpoint, one row, scores for the attack.

Knows: the order in which these happen and what is left after a crash between any two. Must not know: Ray (``cluster``),
gradients. The plan comes from settings and policy alone; no record is read before its event is reserved.

Crash points: ``train.before_store``, ``train.after_store`` (files), ``train.before_row``, ``train.after_row``,
``train.before_scores``, ``train.after_scores``; those of the ledger come between. A training that was killed before its
commit stays paid for and is asked anew; after the commit, only what is missing is written.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.domain.codelists import load_codelists
from ppsehr_spark.errors import UsageError
from ppsehr_spark.lake.checkpoint_store import (
    Place,
    checkpoint_path,
    fetch_folder,
    has_membership_scores,
    locate,
    remove_run,
    run_place,
    store_checkpoint,
    write_checkpoint_row,
    write_membership_scores,
)
from ppsehr_spark.lake.crash_points import crash_point
from ppsehr_spark.lake.ledger_store import open_ledger
from ppsehr_spark.lake.row_versions import row_versions
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.privacy.asking import make_ask_id
from ppsehr_spark.privacy.events import encode_event
from ppsehr_spark.privacy.grants import Grant, Query, redeem_grant
from ppsehr_spark.privacy.ledger import Released, answer_once
from ppsehr_spark.privacy.policy import Scope, parse_policy
from ppsehr_spark.privacy.training_plan import TrainingPlan, make_plan
from ppsehr_spark.privacy.units import ContributionBounds
from ray_actors.training_data import pin_versions

QUERY_NAME = "dp_sgd"
#: What every rank runs, as ``module:function``.
LOOP = "ray_actors.training_loop:run_rank"
_ID_DIGITS = 16


@dataclass(frozen=True)
class TrainingQuestion:
    """A plan on pinned data, as the ledger knows it."""

    plan: TrainingPlan
    versions: Mapping[str, int | None]
    query: Query


def plan_training(settings: Settings) -> TrainingPlan:
    """The plan that these settings and the policy's delta make; reads no record.

    Raises:
        ConfigurationError: ``MODEL_MISSING`` when the public weights are not there.
    """
    from ray_actors.trained_model import fingerprint_base

    delta = parse_policy(settings.files).total.delta
    return make_plan(settings.train, delta=delta, base_fingerprint=fingerprint_base(settings.train.base_model))


def ask_training(lake: Lake, settings: Settings) -> TrainingQuestion:
    """The question that these settings put to the newest data.

    The bounds say that one patient changes one clipped gradient, counted in units of the clipping norm; the noise
    multiplier of the event counts in the same unit.
    """
    plan, versions = plan_training(settings), pin_versions(lake)
    ask_id = make_ask_id("train", definition=plan.to_plain(), versions=row_versions(lake, versions))
    scope = Scope(dataset=settings.privacy.dataset, purpose="training", user="job:train")
    query = Query(ask_id, QUERY_NAME, scope, plan.event, ContributionBounds(max_cells=1, max_per_cell=1))
    return TrainingQuestion(plan, versions, query)


def train_lake(lake: Lake, *, settings: Settings, run_id: str, progress: Any) -> dict[str, int | float]:
    """Train once per question, and bring its row and scores to the lake.

    Args:
        progress: a tqdm-like bar that counts steps.

    Returns:
        Counts for the run record.

    Raises:
        BudgetRefusedError: before any record is read.
        QualityGateError: ``PLAN_NOT_EXECUTED``.
    """
    question = ask_training(lake, settings)
    progress.total = question.plan.n_steps
    policy = parse_policy(settings.files)
    released = answer_once(
        open_ledger(lake, policy),
        question.query,
        draw=lambda grant: _train(lake, question, settings=settings, grant=grant, progress=progress),
    )
    n_scored = _complete(lake, question, released=released, settings=settings, run_id=run_id)
    return {
        "n_steps": question.plan.n_steps,
        "epsilon": round(question.plan.epsilon(policy.total.delta), 6),
        "n_scored": n_scored,
    }


def _train(
    lake: Lake, question: TrainingQuestion, *, settings: Settings, grant: Grant, progress: Any
) -> dict[str, str | int]:
    """Use the grant up, train, check what was executed, store the files; the value that the ledger keeps."""
    from ray_actors.cluster import TrainingSpec, ray_session, run_torch_training
    from ray_actors.training_loop import TrainingOrder

    redeem_for_plan(grant, question.plan)
    run = grant.grant_id
    place = run_place(lake, run)
    place.filesystem.create_dir(place.path, recursive=True)
    order = TrainingOrder(
        settings_json=settings.to_json(),
        lake_uri=_absolute(lake.uri),
        plan_json=question.plan.to_json(),
        versions=question.versions,
        base_model=_absolute(settings.train.base_model),
    )
    spec = TrainingSpec(
        loop=LOOP,
        order=order.to_json(),
        n_workers=settings.train.n_workers,
        gpus_per_worker=settings.train.gpus_per_worker,
        filesystem=place.filesystem,
        path=place.path,
    )
    try:
        with ray_session(settings.train.n_workers):
            filesystem, path = run_torch_training(spec, progress=progress)
        return _store(lake, question, Place(filesystem, path), grant_id=run)
    finally:
        remove_run(lake, run)  # a new reservation starts anew, so nobody resumes from these states


def redeem_for_plan(grant: Grant, plan: TrainingPlan) -> None:
    """Use up a grant for exactly this plan.

    Raises:
        UsageError: ``PLAN_CHANGED`` when something else was reserved (the grant is used up all the same).
    """
    if redeem_grant(grant).event != plan.event:
        raise UsageError("PLAN_CHANGED", hint="the ledger reserved another event than this plan executes")


def _store(lake: Lake, question: TrainingQuestion, states: Place, *, grant_id: str) -> dict[str, str | int]:
    """Check what was executed and copy the files, without optimizer state, to where checkpoints lie."""
    from ray_actors.trained_model import OPTIMIZER_FILE, hash_weights, read_executed

    parts = json.dumps([question.plan.to_json(), dict(question.versions), grant_id], sort_keys=True)
    checkpoint_id = hashlib.sha256(parts.encode()).hexdigest()[:_ID_DIGITS]
    with tempfile.TemporaryDirectory(prefix="ppsehr-checkpoint-") as name:
        folder = fetch_folder(states, Path(name))
        executed = read_executed(folder, plan=question.plan)
        executed.require_plan(question.plan)
        (folder / OPTIMIZER_FILE).unlink()
        crash_point("train.before_store")
        store_checkpoint(lake, folder, checkpoint_id=checkpoint_id)
        crash_point("train.after_store")
        return {
            "checkpoint_id": checkpoint_id,
            "weights_hash": hash_weights(folder),
            "n_steps_done": executed.n_steps,
            "accountant": executed.to_json(),
        }


def _complete(lake: Lake, question: TrainingQuestion, *, released: Released, settings: Settings, run_id: str) -> int:
    """Write row and scores where they are missing; returns the patients scored by this call."""
    value = released.value
    row = {
        **value,
        "ask_id": question.query.run_id,
        "path": checkpoint_path(value["checkpoint_id"]),
        "base_model": question.plan.base_model,
        "plan": question.plan.to_json(),
        "event": encode_event(question.plan.event),
        "grant_id": released.grant_id,
        "run_id": run_id,
    }
    crash_point("train.before_row")
    write_checkpoint_row(lake, row)
    crash_point("train.after_row")
    if has_membership_scores(lake, checkpoint_id=value["checkpoint_id"]):
        return 0
    return _score(lake, question, checkpoint_id=value["checkpoint_id"], settings=settings, run_id=run_id)


def _score(lake: Lake, question: TrainingQuestion, *, checkpoint_id: str, settings: Settings, run_id: str) -> int:
    from ray_actors.membership import score_membership

    with tempfile.TemporaryDirectory(prefix="ppsehr-checkpoint-") as name:
        folder = fetch_folder(locate(lake, checkpoint_path(checkpoint_id)), Path(name))
        scores = score_membership(
            lake,
            folder,
            versions=question.versions,
            codelists=load_codelists(settings.files),
            base_model=settings.train.base_model,
        )
    rows = [{"checkpoint_id": checkpoint_id, "run_id": run_id, **score} for score in scores]
    crash_point("train.before_scores")
    write_membership_scores(lake, rows, checkpoint_id=checkpoint_id)
    crash_point("train.after_scores")
    return len(rows)


def _absolute(place: str) -> str:
    return place if "://" in place or not place else os.path.abspath(place)
