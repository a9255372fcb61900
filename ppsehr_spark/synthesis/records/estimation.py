"""Released marginals -> a record model, by Private-PGM with structural zeros (McKenna, Sheldon and Miklau 2019).

Knows: mbi, which is imported when the first model is estimated because it brings JAX. Must not know: real records;
estimation is post-processing and costs no budget.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ppsehr_spark.errors import ConfigurationError, QualityGateError
from ppsehr_spark.synthesis.records.domain import NEXT_VISIT, RECORDS, RecordDomain
from ppsehr_spark.synthesis.records.marginals import ReleasedMarginal
from ppsehr_spark.synthesis.records.model import Conditional, Floats, RecordModel, list_given
from ppsehr_spark.synthesis.records.zeros import Zeros, list_zeros

_ITERATIONS = 2000
#: A table that a model would need and no machine should hold.
_MOST_CELLS = 8_000_000
#: No cell of a true marginal is larger; noise beyond it is cut, so that nothing overflows.
_MOST_PATIENTS = 1e8


def estimate(domain: RecordDomain, marginals: Sequence[ReleasedMarginal]) -> RecordModel:
    """The model of greatest entropy that fits the noised marginals best and gives no mass to what cannot be.

    Deterministic: equal marginals give equal models. About 15 s on two cores, nearly all of it compilation.

    Raises:
        ConfigurationError: ``RECORD_MODEL`` when the marginals tie too many attributes together.
        QualityGateError: ``RECORD_MODEL_ESTIMATE`` when no finite model was found.
    """
    fields: dict[str, dict[str, Any]] = {"totals": {}, "conditionals": {}, "fitted": {}}
    for record in RECORDS:
        chosen = [marginal for marginal in marginals if marginal.record == record]
        total, conditionals, fitted = _estimate_record(record, domain, chosen)
        fields["totals"][record] = total
        fields["conditionals"][record] = conditionals
        fields["fitted"].update(fitted)
    scales = [marginal.noise_scale for marginal in marginals if marginal.record == NEXT_VISIT]
    return RecordModel(domain, noise_patients=float(np.mean(scales)) if scales else 0.0, **fields)


def _estimate_record(
    record: str, domain: RecordDomain, marginals: Sequence[ReleasedMarginal]
) -> tuple[float, dict[str, Conditional], dict[str, Floats]]:
    zeros = [item for item in list_zeros(record, domain) if len(item.impossible)]
    given = list_given(record, cliques=[*(m.attributes for m in marginals), *(z.attributes for z in zeros)])
    for name, others in given.items():
        n_cells = int(np.prod(domain.shape((*others, name)), dtype=np.int64))
        if n_cells > _MOST_CELLS:
            hint = "fewer or smaller marginals; this attribute hangs on too many others at once"
            raise ConfigurationError("RECORD_MODEL", record=record, attribute=name, cells=n_cells, hint=hint)
    mbi = _load_mbi()
    network = _fit_network(mbi, domain, marginals, zeros)
    tables = {name: _project(mbi, network, (*others, name), domain) for name, others in given.items()}
    conditionals = {name: Conditional(name, given[name], table) for name, table in tables.items()}
    total = float(network.total)
    fitted = {m.name: total * _project(mbi, network, m.attributes, domain).ravel() for m in marginals}
    return total, conditionals, fitted


def _fit_network(mbi: Any, domain: RecordDomain, marginals: Sequence[ReleasedMarginal], zeros: Sequence[Zeros]) -> Any:
    """mbi's Markov network over every attribute that a marginal or a structural zero names."""
    names = sorted({name for item in (*marginals, *zeros) for name in item.attributes})
    shape = mbi.Domain(names, domain.shape(names))
    constraints = [mbi.Constraint(shape.project(item.attributes), invalid=item.impossible) for item in zeros]
    measured = [
        mbi.LinearMeasurement(
            np.clip(marginal.counts.astype(np.float64), -_MOST_PATIENTS, _MOST_PATIENTS),
            marginal.attributes,
            marginal.noise_scale or 1.0,  # exact marginals weigh alike
        )
        for marginal in marginals
    ]
    return mbi.estimation.MirrorDescent().estimate(shape, measured, constraints=constraints, iters=_ITERATIONS)


def _project(mbi: Any, network: Any, attributes: Sequence[str], domain: RecordDomain) -> Floats:
    """Joint probability of some attributes; uniform over what no marginal and no zero mentions."""
    shape = domain.shape(attributes)
    known = tuple(name for name in attributes if name in network.potentials.active_domain)
    if not known:
        return np.full(shape, 1 / np.prod(shape))
    oracle = mbi.marginal_oracles.variable_elimination
    factor = oracle(network.potentials, known, constraints=network.constraints)
    table = np.asarray(factor.values, dtype=np.float64)
    if not np.isfinite(table).all():
        raise QualityGateError("RECORD_MODEL_ESTIMATE", hint="the released marginals allow no finite model")
    table = table.reshape(tuple(n if name in known else 1 for name, n in zip(attributes, shape, strict=True)))
    spread: Floats = np.broadcast_to(table, shape) * (table.size / np.prod(shape))
    return spread


def _load_mbi() -> Any:
    """mbi on the CPU in double precision; its advice about settings is silenced because the settings are made here."""
    import jax

    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_enable_compilation_cache", False)
    jax.config.update("jax_platforms", "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import mbi
    return mbi
