"""The frozen plan of a DP-SGD training: what the ledger records is what is executed.

Knows: the parameters that decide the guarantee and the model, the plan's event, and how many steps of which event have
been executed. Must not know: data, torch, how steps are computed, how many workers compute them (that may change
nothing here). Reference: Abadi et al. 2016 (DP-SGD), with the patient as the sample; Mironov et al. 2019 (cost).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ppsehr_spark.errors import QualityGateError, UsageError
from ppsehr_spark.privacy.accounting import compute_epsilon
from ppsehr_spark.privacy.calibration import calibrate_noise_multiplier
from ppsehr_spark.privacy.events import Event, Exact, SampledGaussian
from ppsehr_spark.privacy.units import Budget

_HASH_DIGITS = 16


class TrainingWishes(Protocol):
    """What is read off the settings; the fields mean what they mean in ``TrainingPlan``."""

    @property
    def epsilon(self) -> float: ...
    @property
    def sampling_rate(self) -> float: ...
    @property
    def n_steps(self) -> int: ...
    @property
    def clip_norm(self) -> float: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def expected_patients(self) -> int: ...
    @property
    def max_notes_per_patient(self) -> int: ...
    @property
    def max_note_tokens(self) -> int: ...
    @property
    def holdout_share(self) -> float: ...
    @property
    def base_model(self) -> str: ...
    @property
    def lora_rank(self) -> int: ...
    @property
    def hidden_size(self) -> int: ...
    @property
    def n_layers(self) -> int: ...


@dataclass(frozen=True)
class TrainingPlan:
    """Everything that decides the guarantee and the weights, apart from data and noise.

    Attributes:
        sampling_rate: chance of each patient to join a step (Poisson), in (0, 1].
        noise_multiplier: standard deviation of a step's noise over ``clip_norm``; 0 for an exact training (tests).
        clip_norm: largest L2 norm of one patient's gradient.
        n_steps: steps that every rank executes, those without a patient included.
        expected_patients: public divisor of a step's noisy sum; chosen, never counted.
        max_notes_per_patient: notes of one patient, chosen by keyed hash; their gradients are averaged.
        max_note_tokens: tokens of one note, the end mark included.
        holdout_share: share of patients, by keyed hash, that never enter training; in [0, 1).
        learning_rate: step size of the optimizer.
        base_model: folder name of the public weights, empty for a small model from scratch.
        base_fingerprint: hash of those weights.
        lora_rank, hidden_size, n_layers: size of adapters, or of the model from scratch.
    """

    sampling_rate: float
    noise_multiplier: float
    clip_norm: float
    n_steps: int
    expected_patients: int
    max_notes_per_patient: int
    max_note_tokens: int
    holdout_share: float
    learning_rate: float
    base_model: str = ""
    base_fingerprint: str = ""
    lora_rank: int = 0
    hidden_size: int = 0
    n_layers: int = 0

    def __post_init__(self) -> None:
        _require_numbers(self)

    @property
    def event(self) -> Event:
        """What happens to real records when the plan is executed."""
        return _event_of(self.noise_multiplier, self.sampling_rate, self.n_steps)

    @property
    def hash(self) -> str:
        """SHA-256 of the canonical JSON, first 16 hex digits."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:_HASH_DIGITS]

    def epsilon(self, delta: float) -> float:
        """Stated epsilon (RDP) of the whole plan, alone, at ``delta``."""
        return compute_epsilon([self.event], delta=delta)

    def to_plain(self) -> dict[str, Any]:
        """Fields as plain JSON values."""
        return dataclasses.asdict(self)

    def to_json(self) -> str:
        """Canonical JSON; equal plans have equal text, floats keep every digit."""
        return json.dumps(self.to_plain(), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class ExecutedSteps:
    """Accountant state: how many steps were executed with which noise and sampling.

    Attributes:
        counts: (noise_multiplier, sampling_rate) -> steps; a plan has one pair, a changed plan would show as a second.
    """

    counts: Mapping[tuple[float, float], int] = dataclasses.field(default_factory=dict)

    def add_step(self, plan: TrainingPlan) -> ExecutedSteps:
        """One more step of the plan."""
        pair = (plan.noise_multiplier, plan.sampling_rate)
        return ExecutedSteps({**self.counts, pair: self.counts.get(pair, 0) + 1})

    @property
    def n_steps(self) -> int:
        """All executed steps."""
        return sum(self.counts.values())

    @property
    def events(self) -> list[Event]:
        """What has happened."""
        return [_event_of(noise, rate, steps) for (noise, rate), steps in sorted(self.counts.items())]

    def epsilon(self, delta: float) -> float:
        """Stated epsilon of what has been executed, at ``delta``."""
        return compute_epsilon(self.events, delta=delta)

    def require_plan(self, plan: TrainingPlan) -> None:
        """Refuse a training that did not execute exactly what was planned and paid for.

        Raises:
            QualityGateError: ``PLAN_NOT_EXECUTED`` with both step counts.
        """
        if self.events != [plan.event]:
            hint = "the executed steps are not those of the plan; this checkpoint has no guarantee"
            raise QualityGateError("PLAN_NOT_EXECUTED", planned=plan.n_steps, executed=self.n_steps, hint=hint)

    def to_json(self) -> str:
        """Canonical JSON."""
        rows = [
            {"noise_multiplier": noise, "sampling_rate": rate, "n_steps": steps}
            for (noise, rate), steps in sorted(self.counts.items())
        ]
        return json.dumps(rows, sort_keys=True, separators=(",", ":"))


def make_plan(wishes: TrainingWishes, *, delta: float, base_fingerprint: str = "") -> TrainingPlan:
    """The plan with the least noise that keeps ``wishes.epsilon`` at ``delta``; an infinite epsilon plans no noise.

    Args:
        wishes: public settings; nothing here is read off the data.
        delta: of the policy's total cap.
        base_fingerprint: hash of the public weights, when there are any.

    Raises:
        UsageError: ``TRAINING_PLAN`` with the field at fault.
    """
    fields = [field.name for field in dataclasses.fields(TrainingPlan)]
    values = {name: getattr(wishes, name) for name in fields if name not in ("noise_multiplier", "base_fingerprint")}
    values["base_model"] = wishes.base_model.rstrip("/").rpartition("/")[2]
    exact = TrainingPlan(**values, noise_multiplier=0.0, base_fingerprint=base_fingerprint)
    if math.isinf(wishes.epsilon):
        return exact
    noise = calibrate_noise_multiplier(
        Budget(wishes.epsilon, delta), n_steps=wishes.n_steps, sampling_rate=wishes.sampling_rate
    )
    return dataclasses.replace(exact, noise_multiplier=noise)


def plan_from_json(text: str) -> TrainingPlan:
    """The plan that ``TrainingPlan.to_json`` wrote.

    Raises:
        UsageError: ``TRAINING_PLAN`` when the text is not one.
    """
    try:
        return TrainingPlan(**json.loads(text))
    except (ValueError, TypeError):
        raise UsageError("TRAINING_PLAN", hint="this is not a training plan") from None


def executed_from_json(text: str) -> ExecutedSteps:
    """The state that ``ExecutedSteps.to_json`` wrote.

    Raises:
        UsageError: ``TRAINING_PLAN`` when the text is not one.
    """
    try:
        rows = json.loads(text)
        return ExecutedSteps({(row["noise_multiplier"], row["sampling_rate"]): int(row["n_steps"]) for row in rows})
    except (ValueError, TypeError, KeyError):
        raise UsageError("TRAINING_PLAN", hint="this is not an accountant state") from None


def _event_of(noise_multiplier: float, sampling_rate: float, n_steps: int) -> Event:
    return SampledGaussian(noise_multiplier, sampling_rate, n_steps) if noise_multiplier else Exact()


def _require_numbers(plan: TrainingPlan) -> None:
    is_fine = {
        "sampling_rate": 0 < plan.sampling_rate <= 1,
        "noise_multiplier": 0 <= plan.noise_multiplier < math.inf,
        "clip_norm": 0 < plan.clip_norm < math.inf,
        "n_steps": plan.n_steps >= 1,
        "expected_patients": plan.expected_patients >= 1,
        "max_notes_per_patient": plan.max_notes_per_patient >= 1,
        "max_note_tokens": plan.max_note_tokens >= 2,
        "holdout_share": 0 <= plan.holdout_share < 1,
        "learning_rate": 0 < plan.learning_rate < math.inf,
    }
    for name, is_ok in is_fine.items():
        if not is_ok:
            raise UsageError("TRAINING_PLAN", field=name, hint="see [train] in conf/pipeline.toml for its range")
