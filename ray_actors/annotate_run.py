"""The annotate job on a pool of actors: open units out, answers in, within a token budget.

Knows: which units are open, what a failed one becomes, when a run ends. Must not know: Ray (``cluster``), prompts, what
an answer means. No engine, and not even Ray, starts when there is nothing to ask.
"""

from __future__ import annotations

from typing import Any

from ppsehr_spark.config import Settings
from ppsehr_spark.errors import InfrastructureError
from ppsehr_spark.lake.tables import Lake
from ray_actors.annotate_counts import AnnotateCounts
from ray_actors.cluster import ActorPool, Failed, actor_pool, ray_session, stop_on_sigterm
from ray_actors.dispatch import DeadLetter, Dispatch
from ray_actors.pool_plan import plan_pool
from ray_actors.unit_store import AnswerSink, SegmentSource, open_tasks


def annotate_lake(lake: Lake, *, settings: Settings, run_id: str, progress: Any) -> AnnotateCounts:
    """Ask about open segments until none is left or the token budget is spent, and commit the answers.

    Args:
        progress: a tqdm-like bar that counts units.

    Raises:
        InfrastructureError: ``INTERRUPTED`` after SIGTERM, ``ENGINE_DOWN`` when nothing but failures come back; what
            was answered before is committed in both cases.
    """
    tasks = open_tasks(lake, settings.files)
    counts = AnnotateCounts(n_open_before=sum(len(task.segment_keys) for task in tasks))
    if not tasks or settings.annotate.engine == "rules" or settings.annotate.token_budget <= 0:
        return counts
    wants = settings.annotate
    dispatch = Dispatch(tasks, token_budget=wants.token_budget, max_attempts=wants.max_attempts)
    sink = AnswerSink(lake, run_id=run_id, engine=wants.engine, units_per_commit=wants.units_per_commit)
    source = SegmentSource(lake, (key for task in tasks for key in task.segment_keys))
    worker = "ray_actors.annotator:Annotator"
    plan = plan_pool(settings, wants, worker=worker, call_timeout_s=wants.unit_timeout_s)
    with ray_session(plan.n_cpus), stop_on_sigterm() as stop, actor_pool(plan, stop) as pool:
        try:
            _work(dispatch, pool=pool, source=source, sink=sink, counts=counts, progress=progress)
        finally:
            sink.commit()
    if stop.is_set():
        raise InfrastructureError("INTERRUPTED", hint="finished units are committed; run again to go on")
    if dispatch.is_hopeless:
        raise InfrastructureError("ENGINE_DOWN", engine=wants.engine, hint="every unit failed; see phi.dead_letters")
    return counts


def _work(
    dispatch: Dispatch,
    *,
    pool: ActorPool,
    source: SegmentSource,
    sink: AnswerSink,
    counts: AnnotateCounts,
    progress: Any,
) -> None:
    progress.total = len(dispatch.open_keys)
    while not (dispatch.is_done or dispatch.is_hopeless or pool.stop.is_set()):
        while pool.n_idle and (task := dispatch.take(pool.n_idle)):
            pool.submit(task, "annotate_unit", source.rows(task.segment_keys), task.token_limit)
        for task, outcome in pool.collect():
            if isinstance(outcome, Failed):
                letters = dispatch.fail(task, error_code=outcome.code)
                rows: list[dict[str, Any]] = []
            else:
                dispatch.finish(task, spent_tokens=outcome.usage.charged, open_keys=outcome.open_keys)
                letters = [DeadLetter(k, task.unit_id, code, task.attempts + 1) for k, code in outcome.dead.items()]
                rows = outcome.rows
                counts.add(outcome)
            counts.n_dead_letters += len(letters)
            sink.add(task, rows, letters)
            progress.update(len(rows) + len(letters))
