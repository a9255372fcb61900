"""The claim card: everything that is claimed about a release, and what is not, as one frozen value.

Knows: ledger entries, caps, and which fields a claim has (NIST SP 800-226, on evaluating claims). Must not know:
tables, languages, where a figure was measured. What can be computed is computed from the ledger here; what is a choice
of the privacy officer comes in as codes, whose wording stands in ``conf/claim/``.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ppsehr_spark.privacy.accounting import compute_epsilon, state_cost
from ppsehr_spark.privacy.book import Book, Entry, read_book
from ppsehr_spark.privacy.events import (
    Event,
    Exact,
    Gaussian,
    KeyThreshold,
    Laplace,
    PureEpsilon,
    SampledGaussian,
    ZeroConcentrated,
    decode_event,
    flatten_event,
)
from ppsehr_spark.privacy.policy import TOTAL, decode_policy
from ppsehr_spark.privacy.units import NEIGHBOURING, PRIVACY_UNIT, ContributionBounds

#: What kind of guarantee a product has; texts in ``conf/claim/``.
APPROXIMATE_DP, NO_GUARANTEE = "approximate_dp", "no_guarantee"
_MECHANISMS: Mapping[type, str] = {
    ZeroConcentrated: "zero_concentrated",
    Gaussian: "gaussian",
    Laplace: "laplace",
    PureEpsilon: "discrete_laplace",
    SampledGaussian: "dp_sgd",
    KeyThreshold: "key_threshold",
    Exact: "exact",
}
_DRAWN_BY_OPENDP = (ZeroConcentrated, PureEpsilon)


@dataclass(frozen=True)
class PaidRelease:
    """One line of the ledger that counts: who asked what, with which mechanism and bounds.

    Attributes:
        mechanism: code of the mechanism; an exact name where the caller knows one.
        event: parameters of the event, as the accountant takes them.
        l2_sensitivity: largest change of the released vector by one patient, from the bounds.
        is_committed: False for a reservation that a crash left behind; it is spent all the same.
        is_part: this product rests on it.
    """

    ask_id: str
    query: str
    purpose: str
    mechanism: str
    event: Mapping[str, Any]
    max_cells: int
    max_per_cell: int
    l2_sensitivity: float
    is_committed: bool
    is_part: bool


@dataclass(frozen=True)
class Allocation:
    """One cap: allowed, spent and left, at its delta."""

    cap: str
    epsilon: float
    delta: float
    spent: float
    left: float


@dataclass(frozen=True)
class Figure:
    """A public figure about the release."""

    subject: str
    metric: str
    slice: str
    value: float | None
    low: float | None = None
    high: float | None = None
    gate_limit: float | None = None
    is_passed: bool | None = None


@dataclass(frozen=True)
class EmpiricalAudit:
    """Which attack was run against which claim, and whether its gates held; the figures read real records and stay.

    Attributes:
        attack: code of the attack, ``none`` when none was run.
        claimed_epsilon: what the lower bound was held against, at the total delta; ``None`` without an attack.
        auc_limit: limit of the gate on AUC.
        is_passed: both gates held; ``None`` without an attack.
    """

    attack: str = "none"
    claimed_epsilon: float | None = None
    auc_limit: float | None = None
    is_passed: bool | None = None


@dataclass(frozen=True)
class Choices:
    """What the privacy officer states, as codes (``conf/claim/card.toml``)."""

    bounds_enforced: str
    trust_model: str
    refresh_policy: str
    not_covered: tuple[str, ...]
    audit_limits: tuple[str, ...]
    post_processing: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class Product:
    """What the card is about.

    Attributes:
        name: ``notes``, ``dp_statistics`` or ``synthetic``.
        tables: released tables.
        grants: ledger grants the product rests on; empty for one without a guarantee.
        mechanisms: grant id -> exact name of its mechanism, where more is known than the event says.
    """

    name: str
    release_id: str
    tables: tuple[str, ...]
    grants: frozenset[str] = frozenset()
    mechanisms: Mapping[str, str] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class Circumstances:
    """What is neither in the ledger nor chosen: inputs, versions, people, time.

    Attributes:
        public_inputs: name -> version or hash of everything public that the release was made with.
        versions: library -> version, for the noise.
        reviewer: empty when nobody has reviewed the claim.
        date: ISO 8601, UTC.
    """

    public_inputs: Mapping[str, str]
    versions: Mapping[str, str]
    code_version: str
    config_hash: str
    reviewer: str
    date: str


@dataclass(frozen=True)
class ClaimCard:
    """A claim; every field of it stands in the JSON and in both texts.

    Attributes:
        definition: ``approximate_dp`` or ``no_guarantee`` (de-identified text).
        epsilon, delta: of everything ever spent on the source together, RDP composition; ``None`` without a guarantee.
        product_epsilon: of the ledger lines that this product rests on alone, at the same delta.
        source_epsilon: of everything ever spent on the source, also on the card of a product without a guarantee;
            ``None`` when the ledger does not hold, so that nobody can say.
        pld_epsilon: the tighter figure for the source, where every event has one.
        sampling: how patients enter each kind of event, with the rate in percent where they are sampled.
        noise_source: code -> version of what drew the noise.
        utility, small_groups: public figures; small groups apart, because averages hide them.
    """

    product: str
    release_id: str
    tables: tuple[str, ...]
    unit: str
    neighbouring: str
    definition: str
    epsilon: float | None
    delta: float | None
    product_epsilon: float | None
    source_epsilon: float | None
    pld_epsilon: float | None
    bounds_enforced: str
    paid_releases: tuple[PaidRelease, ...]
    accountant: str
    n_composed: int
    sampling: tuple[str, ...]
    trust_model: str
    not_covered: tuple[str, ...]
    public_inputs: Mapping[str, str]
    noise_source: Mapping[str, str]
    post_processing: tuple[str, ...]
    allocation: tuple[Allocation, ...]
    refresh_policy: str
    utility: tuple[Figure, ...]
    small_groups: tuple[Figure, ...]
    audit: EmpiricalAudit
    audit_limits: tuple[str, ...]
    code_version: str
    config_hash: str
    reviewer: str | None
    date: str

    def to_json(self) -> str:
        """Canonical JSON; infinities are written as the string ``infinity``."""
        return json.dumps(_to_plain(dataclasses.asdict(self)), ensure_ascii=False, sort_keys=True, indent=1)


def make_card(
    product: Product,
    entries: Sequence[Entry] | None,
    *,
    choices: Choices,
    circumstances: Circumstances,
    utility: Sequence[Figure] = (),
    small_groups: Sequence[Figure] = (),
    audit: EmpiricalAudit | None = None,
) -> ClaimCard:
    """Put a card together; budget figures are computed from the ledger rows, none is passed in.

    Args:
        entries: all rows of the ledger, ``None`` when they do not hold (then no product may rest on them).

    Raises:
        QualityGateError: ``PRIVACY_LEDGER`` when the rows are no possible ledger.
    """
    book = read_book(entries or ())
    events = [decode_event(entry.event) for entry in book.spent.values()]
    return ClaimCard(
        product=product.name,
        release_id=product.release_id,
        tables=product.tables,
        unit=PRIVACY_UNIT,
        neighbouring=NEIGHBOURING,
        **_state_guarantee(product, entries, book),
        bounds_enforced=choices.bounds_enforced,
        paid_releases=tuple(_describe_entry(entry, product, book.committed) for entry in book.spent.values()),
        n_composed=len(events),
        sampling=_describe_sampling(events),
        trust_model=choices.trust_model,
        not_covered=choices.not_covered,
        public_inputs=dict(sorted(circumstances.public_inputs.items())),
        noise_source=_describe_noise(events, circumstances.versions),
        post_processing=choices.post_processing.get(product.name, ()),
        allocation=_list_allocations(entries or (), book),
        refresh_policy=choices.refresh_policy,
        utility=tuple(utility),
        small_groups=tuple(small_groups),
        audit=audit or EmpiricalAudit(),
        audit_limits=choices.audit_limits,
        code_version=circumstances.code_version,
        config_hash=circumstances.config_hash,
        reviewer=circumstances.reviewer.strip() or None,
        date=circumstances.date,
    )


def _state_guarantee(product: Product, entries: Sequence[Entry] | None, book: Book) -> dict[str, Any]:
    """What is promised, composed over the whole source; nothing for a product that rests on no grant."""
    delta = entries[-1].delta if entries else 0.0
    events = [decode_event(entry.event) for entry in book.spent.values()]
    own = [decode_event(entry.event) for entry in book.spent.values() if entry.grant_id in product.grants]
    cost = state_cost(events, delta=delta) if entries else None
    is_dp = cost is not None and bool(product.grants)
    return {
        "definition": APPROXIMATE_DP if is_dp else NO_GUARANTEE,
        "epsilon": cost.stated.epsilon if cost and is_dp else None,
        "delta": cost.stated.delta if cost and is_dp else None,
        "product_epsilon": compute_epsilon(own, delta=delta) if is_dp else None,
        "source_epsilon": None if entries is None else (cost.stated.epsilon if cost else 0.0),
        "pld_epsilon": cost.pld_epsilon if cost else None,
        "accountant": cost.accountant if cost else "",
    }


def _describe_entry(entry: Entry, product: Product, committed: Iterable[str]) -> PaidRelease:
    event = decode_event(entry.event)
    codes = [_MECHANISMS[type(part)] for part in flatten_event(event)]
    bounds = ContributionBounds(entry.max_cells, entry.max_per_cell)
    return PaidRelease(
        ask_id=entry.run_id,
        query=entry.query,
        purpose=entry.purpose,
        mechanism=product.mechanisms.get(entry.grant_id) or " + ".join(dict.fromkeys(codes)),
        event=json.loads(entry.event),
        max_cells=entry.max_cells,
        max_per_cell=entry.max_per_cell,
        l2_sensitivity=bounds.l2_sensitivity,
        is_committed=entry.grant_id in committed,
        is_part=entry.grant_id in product.grants,
    )


def _list_allocations(entries: Sequence[Entry], book: Book) -> tuple[Allocation, ...]:
    """Balances under the caps of the newest row, the ones in force."""
    if not entries:
        return ()
    rows = []
    for cap in decode_policy(entries[-1].caps).caps:
        spent = book.epsilon_under(cap)
        left = max(0.0, cap.budget.epsilon - spent)
        rows.append(Allocation(cap.name or TOTAL, cap.budget.epsilon, cap.budget.delta, spent, left))
    return tuple(rows)


def _describe_sampling(events: Sequence[Event]) -> tuple[str, ...]:
    """``everybody``, and ``poisson`` with its rate, each kind once."""
    found: dict[str, None] = {}
    for part in (part for event in events for part in flatten_event(event)):
        found[f"poisson {part.sampling_rate:g}" if isinstance(part, SampledGaussian) else "everybody"] = None
    return tuple(sorted(found))


def _describe_noise(events: Sequence[Event], versions: Mapping[str, str]) -> dict[str, str]:
    """What drew the noise of these events, and its version."""
    parts = [part for event in events for part in flatten_event(event)]
    found = {}
    if any(isinstance(part, _DRAWN_BY_OPENDP) for part in parts):
        found["opendp_os_randomness"] = versions.get("opendp", "")
    if any(isinstance(part, SampledGaussian | Gaussian) for part in parts):
        found["training_os_randomness"] = versions.get("numpy", "")
    return found


def _to_plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _to_plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    return "infinity" if isinstance(value, float) and math.isinf(value) else value
