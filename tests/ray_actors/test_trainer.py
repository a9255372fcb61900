"""DP-SGD against brute force, and the mistakes that must not pass: each is planted here and must be seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch

from ppsehr_spark.errors import ConfigurationError
from ray_actors import trainer as trainer_module
from ray_actors.os_randomness import draw_mask, draw_normal
from ray_actors.row_losses import row_losses
from ray_actors.trainer import PatientTrainer, per_patient_gradients, split_rows
from ray_actors.training_data import Patient, Row
from ray_actors.training_loop import sample_patients
from tests.ray_actors.small_training import (
    PLAN,
    Recorder,
    ThreadRanks,
    flat,
    make_patients,
    make_tiny,
    plan_with,
    run_threads,
    slow_clipped_sum,
    slow_gradient,
    sum_of_step,
    trained_parameters,
    trainer_of,
)

pytestmark = pytest.mark.filterwarnings("ignore:Full backward hook")
#: Ten standard errors: a true figure leaves this band once in 10^23 runs.
TEN = 10.0
PATIENTS = make_patients(1, 3, 2, 1)


# --- gradients -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tied", "untied", "lora"])
def test_norms_of_patients_equal_brute_force(kind: str) -> None:
    expected = torch.stack([slow_gradient(make_tiny(kind), patient).norm() for patient in PATIENTS])
    trainer = trainer_of(make_tiny(kind))
    per_patient_gradients(trainer.model, PATIENTS, pad_id=0)
    found = torch.stack([p.grad_sample.flatten(1).norm(dim=1) for p in trainer.optimizer.params]).norm(dim=0)
    assert found.shape == (len(PATIENTS),)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["tied", "lora"])
@pytest.mark.parametrize("clip_norm", [0.05, 0.5, 1e6])
def test_without_noise_a_step_is_the_clipped_sum(kind: str, clip_norm: float) -> None:
    expected = slow_clipped_sum(make_tiny(kind), PATIENTS, clip_norm)
    torch.testing.assert_close(sum_of_step(PATIENTS, kind=kind, clip_norm=clip_norm), expected, rtol=1e-3, atol=1e-5)


def test_a_step_divides_by_the_public_number_not_by_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = make_tiny(), Recorder()
    trainer = trainer_of(model, plan=plan_with(expected_patients=7), add_up=seen)
    gradients: list[torch.Tensor] = []
    parameters = trained_parameters(model)
    inner = trainer.optimizer.original_optimizer
    monkeypatch.setattr(inner, "step", lambda: gradients.append(flat([p.grad for p in parameters])))
    trainer.step(PATIENTS)
    torch.testing.assert_close(gradients[0], seen.totals[0] / 7)


@pytest.mark.parametrize("physical_rows", [1, 2, 5])
def test_microbatches_change_nothing(physical_rows: int) -> None:
    whole = sum_of_step(PATIENTS, physical_rows=100)
    torch.testing.assert_close(sum_of_step(PATIENTS, physical_rows=physical_rows), whole, rtol=1e-4, atol=1e-6)


def test_microbatches_hold_whole_patients() -> None:
    groups = list(split_rows(make_patients(1, 3, 2, 1, 1), physical_rows=3))
    assert [[len(p.rows) for p in group] for group in groups] == [[1], [3], [2, 1], [1]]


def test_steps_do_not_remember_the_one_before() -> None:
    seen = Recorder()
    trainer = trainer_of(make_tiny(), plan=plan_with(learning_rate=1e-12), add_up=seen)
    for _ in range(2):
        trainer.step(PATIENTS)
    torch.testing.assert_close(seen.totals[0], seen.totals[1], rtol=1e-4, atol=1e-6)


def test_a_gradient_without_bound_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    infinite = torch.tensor([float("inf"), 1.0, 1.0, 1.0])
    monkeypatch.setattr(trainer_module, "row_losses", lambda *a, **k: row_losses(*a, **k) * infinite)
    trainer = trainer_of(make_tiny())
    per_patient_gradients(trainer.model, PATIENTS[:2], pad_id=0)
    norms = torch.stack([p.grad_sample.flatten(1).norm(dim=1) for p in trainer.optimizer.params]).norm(dim=0)
    assert torch.isfinite(norms).all() and norms[1] > 0


# --- planted: note-level clipping sold as patient-level --------------------------------------------------------------


def keeps_patient_bound(gradient_of: Any) -> bool:
    """True when one patient with several notes changes the sum by the clipping norm at most."""
    (patient,) = make_patients(3, seed=11)
    return float(gradient_of(patient).norm()) <= 0.05 * (1 + 1e-4)


def test_one_patient_changes_a_step_by_the_clipping_norm_at_most() -> None:
    assert keeps_patient_bound(lambda patient: sum_of_step([patient], clip_norm=0.05))


def test_planted_note_level_clipping_is_seen() -> None:
    def per_note(patient: Patient) -> torch.Tensor:
        return sum_of_step([Patient(patient.patient_key, (row,)) for row in patient.rows], clip_norm=0.05)

    assert not keeps_patient_bound(per_note)


# --- planted: a loss that couples samples ----------------------------------------------------------------------------


def has_independent_rows(model: Any, losses_of: Any) -> bool:
    """True when a patient's gradient does not depend on who else is in the batch."""
    alone, company = PATIENTS[0], PATIENTS[1]
    trainer = trainer_of(model)
    found = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trainer_module, "row_losses", losses_of)
        for batch in ([alone], [alone, company]):
            per_patient_gradients(trainer.model, batch, pad_id=0)
            found.append(flat([p.grad_sample[0] for p in trainer.optimizer.params]))
            for parameter in trainer.optimizer.params:
                parameter.grad_sample = None
    return torch.allclose(found[0], found[1], rtol=1e-3, atol=1e-6)


def library_losses(model: Any, rows: Sequence[Row], *, pad_id: int) -> torch.Tensor:
    """What ``model(labels=...)`` computes: one mean over all tokens of the batch, shared out to the rows."""
    own = row_losses(model, rows, pad_id=pad_id)
    sizes = torch.tensor([len(row.tokens) - row.n_header for row in rows])
    return own * sizes / sizes.sum() * len(rows)


@pytest.mark.parametrize("kind", ["tied", "lora"])
def test_a_patient_does_not_feel_the_company(kind: str) -> None:
    assert has_independent_rows(make_tiny(kind), row_losses)


def test_planted_batch_mean_is_seen() -> None:
    rows = [row for patient in PATIENTS[:2] for row in patient.rows]
    labels = torch.full((len(rows), max(len(r.tokens) for r in rows)), -100)
    ids = torch.zeros_like(labels)
    for i, row in enumerate(rows):
        ids[i, : len(row.tokens)] = torch.tensor(row.tokens)
        labels[i, row.n_header : len(row.tokens)] = torch.tensor(row.tokens[row.n_header :])
    theirs = make_tiny()(input_ids=ids, labels=labels, use_cache=False).loss
    ours = library_losses(make_tiny(), rows, pad_id=0).sum() / len(rows)
    torch.testing.assert_close(ours, theirs)  # the plant is the library's loss
    assert not has_independent_rows(make_tiny(), library_losses)


def test_layers_that_couple_samples_are_refused() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.BatchNorm1d(2))
    with pytest.raises(ConfigurationError, match="MODEL_COUPLES_SAMPLES"):
        trainer_of(model)
    with pytest.raises(ConfigurationError, match="MODEL_COUPLES_SAMPLES"):
        trainer_of(torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Dropout(0.1)))


# --- noise -----------------------------------------------------------------------------------------------------------


def noise_of(n_ranks: int, **plan: Any) -> torch.Tensor:
    """Sum of a step in which no rank drew a patient."""
    ranks = ThreadRanks(n_ranks)
    trainers = [
        trainer_of(make_tiny(), plan=plan_with(**plan), add_up=ranks.joined(r), n_ranks=n_ranks) for r in range(n_ranks)
    ]
    run_threads(*(lambda t=t: t.step([]) for t in trainers))
    return ranks.totals[0]


@pytest.mark.parametrize("n_ranks", [1, 2, 3])
def test_noise_is_what_was_planned_on_any_number_of_ranks(n_ranks: int) -> None:
    noise = noise_of(n_ranks, noise_multiplier=1.5, clip_norm=0.2).double()
    assert abs(float(noise.std()) / 0.3 - 1) < TEN / (2 * len(noise)) ** 0.5
    assert abs(float(noise.mean())) < TEN * 0.3 / len(noise) ** 0.5


def test_normal_draws_are_normal() -> None:
    draws = draw_normal(200_000, std=1.0)
    for level, share in ((1.0, 0.841345), (2.0, 0.977250), (-1.0, 0.158655)):
        assert abs((draws < level).mean() - share) < TEN * (share * (1 - share) / len(draws)) ** 0.5


def differs_between_runs(draw: Any) -> bool:
    """True when seeding everything that can be seeded does not bring a draw back."""
    found = []
    for _ in range(2):
        torch.manual_seed(0)
        found.append(draw())
    return not torch.allclose(found[0], found[1])


def test_noise_has_no_seed() -> None:
    assert differs_between_runs(lambda: noise_of(1, noise_multiplier=1.0))
    one, other = draw_normal(1000, std=1.0), draw_normal(1000, std=1.0)
    assert abs(float((one * other).mean())) < TEN / len(one) ** 0.5  # steps and ranks share nothing


def test_planted_seeded_noise_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trainer_module, "draw_normal", lambda n, *, std: (torch.randn(n) * std).double().numpy())
    assert not differs_between_runs(lambda: noise_of(1, noise_multiplier=1.0))


# --- ranks and empty batches -----------------------------------------------------------------------------------------


def weights_after(shards: Sequence[Sequence[Sequence[Patient]]]) -> list[torch.Tensor]:
    """Weights of every rank after the steps of its shard."""
    ranks, models = ThreadRanks(len(shards)), [make_tiny() for _ in shards]

    def work(rank: int) -> None:
        trainer = trainer_of(models[rank], add_up=ranks.joined(rank), n_ranks=len(shards))
        for batch in shards[rank]:
            trainer.step(batch)

    run_threads(*(lambda rank=rank: work(rank) for rank in range(len(shards))))
    return [flat(trained_parameters(model)) for model in models]


def test_two_ranks_do_what_one_does() -> None:
    a, b, c, d = PATIENTS
    (alone,) = weights_after([[[a, b, c], [d], [a, d]]])
    first, second = weights_after([[[a, b], [], [a]], [[c], [d], [d]]])
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    torch.testing.assert_close(first, alone, rtol=1e-3, atol=1e-4)


def counts_empty_steps(step: Any) -> bool:
    """True when a step without patients changes the weights, as its noise must."""
    model = make_tiny()
    before = flat(trained_parameters(model))
    step(trainer_of(model, plan=plan_with(noise_multiplier=1.0)), [])
    return not torch.equal(before, flat(trained_parameters(model)))


def test_an_empty_batch_is_a_step_with_noise() -> None:
    assert counts_empty_steps(PatientTrainer.step)


def test_planted_skipping_of_empty_batches_is_seen() -> None:
    assert not counts_empty_steps(lambda trainer, batch: trainer.step(batch) if batch else None)


# --- sampling --------------------------------------------------------------------------------------------------------


def looks_poisson(draw: Any, *, n: int = 100, rate: float = 0.1, n_draws: int = 2000) -> bool:
    """Sizes of samples have the variance of independent coins, and patients are drawn independently of each other."""
    drawn = torch.tensor([[float(x) for x in draw()] for _ in range(n_draws)])
    sizes = drawn.sum(dim=1)
    variance = n * rate * (1 - rate)
    is_mean = abs(float(sizes.mean()) - n * rate) < TEN * (variance / n_draws) ** 0.5
    return is_mean and abs(float(sizes.var()) / variance - 1) < TEN * (2.2 / n_draws) ** 0.5


def test_every_patient_tosses_an_own_coin() -> None:
    assert looks_poisson(lambda: draw_mask(100, rate=0.1))
    assert draw_mask(50, rate=1.0).all() and len(draw_mask(0, rate=0.3)) == 0
    patients = make_patients(*[1] * 20)
    assert {len(sample_patients(patients, rate=0.5)) for _ in range(200)} > {9, 10, 11}


def test_planted_shuffling_is_seen() -> None:
    def shuffled() -> list[bool]:
        order = torch.randperm(100).tolist()
        return [i in set(order[:10]) for i in range(100)]

    assert not looks_poisson(shuffled)


def test_sampling_has_no_seed() -> None:
    assert differs_between_runs(lambda: torch.tensor(draw_mask(200, rate=0.5)).float())


def test_plan_is_exact_without_noise() -> None:
    assert PLAN.noise_multiplier == 0 and float(sum_of_step([]).abs().max()) == 0
