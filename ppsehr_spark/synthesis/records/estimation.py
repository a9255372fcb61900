"""Released marginals -> a record model, by Private-PGM with structural zeros (McKenna, Sheldon and Miklau 2019).

Knows: mbi, which is imported when the first model is estimated because it brings JAX. Must not know: real records;
estimation is post-processing and costs no budget.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from ppsehr_spark.errors import ConfigurationError, QualityGateError
from ppsehr_spark.synthesis.records.domain import NEXT_VISIT, RECORDS, RecordDomain
from ppsehr_spark.synthesis.records.inference import LogFactor, compute_joint
from ppsehr_spark.synthesis.records.marginals import ReleasedMarginal
from ppsehr_spark.synthesis.records.model import Conditional, Floats, RecordModel, list_given
from ppsehr_spark.synthesis.records.zeros import Zeros, list_zeros

_ITERATIONS = 2000
#: A table that a model would need and no machine should hold.
_MOST_CELLS = 8_000_000
#: No cell of a true marginal is larger; noise beyond it is cut, so that nothing overflows.
_MOST_PATIENTS = 1e8


@dataclass(frozen=True, eq=False)
class _Network:
    """What mbi estimated: the number of patients, and factors whose normalised product is the distribution."""

    total: float
    factors: tuple[LogFactor, ...]


def estimate(domain: RecordDomain, marginals: Sequence[ReleasedMarginal]) -> RecordModel:
    """The model of greatest entropy that fits the noised marginals best and gives no mass to what cannot be.

    Deterministic: equal marginals give equal models. About 10 s on two cores, nearly all of it compilation.

    Raises:
        ConfigurationError: ``RECORD_MODEL`` when the marginals tie too many attributes together.
        QualityGateError: ``RECORD_MODEL_ESTIMATE`` when no finite model was found.
    """
    parts = {record: [m for m in marginals if m.record == record] for record in RECORDS}
    given = {record: _plan_tables(record, domain, chosen) for record, chosen in parts.items()}
    mbi = _load_mbi()
    with ThreadPoolExecutor(len(parts)) as pool:  # the compiler leaves Python's lock
        fits = [pool.submit(_fit_network, mbi, domain, m, list_zeros(record, domain)) for record, m in parts.items()]
        networks = dict(zip(parts, (fit.result() for fit in fits), strict=True))
    conditionals = {
        record: {
            name: Conditional(name, others, _project(networks[record], (*others, name), domain))
            for name, others in given[record].items()
        }
        for record in parts
    }
    fitted = {
        m.name: networks[m.record].total * _project(networks[m.record], m.attributes, domain).ravel() for m in marginals
    }
    scales = [m.noise_scale for m in parts[NEXT_VISIT]]
    totals = {record: network.total for record, network in networks.items()}
    return RecordModel(domain, totals, conditionals, fitted, float(np.mean(scales)) if scales else 0.0)


def _plan_tables(
    record: str, domain: RecordDomain, marginals: Sequence[ReleasedMarginal]
) -> dict[str, tuple[str, ...]]:
    """Attribute -> what it is drawn given; refused before anything is estimated when a table would be too large."""
    zeros = list_zeros(record, domain)
    given = list_given(record, cliques=[*(m.attributes for m in marginals), *(z.attributes for z in zeros)])
    for name, others in given.items():
        n_cells = int(np.prod(domain.shape((*others, name)), dtype=np.int64))
        if n_cells > _MOST_CELLS:
            hint = "fewer or smaller marginals; this attribute hangs on too many others at once"
            raise ConfigurationError("RECORD_MODEL", record=record, attribute=name, cells=n_cells, hint=hint)
    return given


def _fit_network(
    mbi: Any, domain: RecordDomain, marginals: Sequence[ReleasedMarginal], zeros: Sequence[Zeros]
) -> _Network:
    """Mirror descent over every attribute that a marginal or a structural zero names."""
    names = sorted({name for m in marginals for name in m.attributes} | {name for z in zeros for name in z.attributes})
    shape = mbi.Domain(names, domain.shape(names))
    constraints = [mbi.Constraint(shape.project(z.attributes), invalid=z.impossible) for z in zeros]
    measured = [
        mbi.LinearMeasurement(
            np.clip(m.counts.astype(np.float64), -_MOST_PATIENTS, _MOST_PATIENTS),
            m.attributes,
            m.noise_scale or 1.0,  # exact marginals weigh alike
        )
        for m in marginals
    ]
    descent = mbi.estimation.MirrorDescent()
    network = descent.estimate(shape, measured, constraints=constraints, iters=_ITERATIONS)
    tables = [*network.potentials.tables.values(), *(constraint.potential for constraint in constraints)]
    factors = (LogFactor(tuple(t.domain.attributes), np.asarray(t.values, dtype=np.float64)) for t in tables)
    return _Network(float(network.total), tuple(factors))


def _project(network: _Network, attributes: Sequence[str], domain: RecordDomain) -> Floats:
    """Joint probability of some attributes; uniform over what no marginal and no zero mentions."""
    shape = domain.shape(attributes)
    named = {name for factor in network.factors for name in factor.attributes}
    known = tuple(name for name in attributes if name in named)
    if not known:
        return np.full(shape, 1 / np.prod(shape))
    table = compute_joint(network.factors, known)
    if not np.isfinite(table).all():
        raise QualityGateError("RECORD_MODEL_ESTIMATE", hint="the released marginals allow no finite model")
    narrow = table.reshape(tuple(n if name in known else 1 for name, n in zip(attributes, shape, strict=True)))
    spread: Floats = np.broadcast_to(narrow, shape) * (table.size / np.prod(shape))
    return spread


def _load_mbi() -> Any:
    """mbi on the CPU in double precision; its advice about settings is silenced because the settings are made here."""
    config: Any = importlib.import_module("jax").config
    config.update("jax_enable_x64", True)
    config.update("jax_enable_compilation_cache", False)
    config.update("jax_platforms", "cpu")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return importlib.import_module("mbi")
