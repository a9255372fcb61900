"""Publishing everything that is ready: each product behind its own gates, none held back by another.

Knows: which products there are, and that a refusal is audited and does not stop the next one. Must not know: gates. A
release is appended under its id and replaces nothing; ``release.current_*`` shows the last one published (content that
comes back after another release becomes current again, without a second copy). A crash between the writes (rows, claim
card, catalogue, audit entry, manifest) is repaired by running again: rows whose release has no catalogue row are in no
view.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from ppsehr_spark.config import Settings
from ppsehr_spark.errors import PpsehrError, QualityGateError
from ppsehr_spark.lake.audit_log import append_entry
from ppsehr_spark.lake.claim_store import LedgerState, read_ledger, state_release
from ppsehr_spark.lake.dp_publishing import STATISTICS, SYNTHETIC, Candidate, offer_statistics, offer_synthetic
from ppsehr_spark.lake.note_publishing import NOTES_PRODUCT, offer_notes, read_conf_canaries
from ppsehr_spark.lake.release_store import Release, store_release
from ppsehr_spark.lake.schemas import RELEASES
from ppsehr_spark.lake.statement_store import Statement
from ppsehr_spark.lake.tables import Lake


@dataclass(frozen=True)
class Published:
    """What one publish run came to: what is released, and what was refused, by product."""

    releases: tuple[Release, ...]
    refusals: tuple[tuple[str, PpsehrError], ...]


def publish_products(
    lake: Lake,
    settings: Settings,
    *,
    run_id: str,
    canaries: Sequence[str] = (),
    on_batch: Callable[[int], object] = lambda n_rows: None,
) -> Published:
    """Release every product that is there and passes its gates.

    Publishing the same content twice writes nothing. A refusal is in the audit log with its code and counts.

    Args:
        canaries: strings that must not come out, besides the lines of ``conf/canaries.tsv``.
        on_batch: called with the number of notes of each batch that went through the gates.
    """
    ledger = read_ledger(lake)
    listed = _list_canaries(settings, canaries)
    offers: dict[str, Callable[[], Candidate | None]] = {
        NOTES_PRODUCT: lambda: Candidate(offer_notes(lake, settings, canaries=listed, on_batch=on_batch)),
        STATISTICS: lambda: offer_statistics(lake, settings, ledger),
        SYNTHETIC: lambda: offer_synthetic(lake, settings, ledger, canaries=listed),
    }
    releases: list[Release] = []
    refusals: list[tuple[str, PpsehrError]] = []
    for product, offer in offers.items():
        try:
            release = _publish(lake, settings, product, offer, ledger=ledger, run_id=run_id)
            releases += [release] if release else []
        except QualityGateError as refusal:
            refusals.append((product, refusal))
    return Published(tuple(releases), tuple(refusals))


def _publish(
    lake: Lake,
    settings: Settings,
    product: str,
    offer: Callable[[], Candidate | None],
    *,
    ledger: LedgerState,
    run_id: str,
) -> Release | None:
    """Offer, store and say whether anything was new; a refusal is audited and raised."""
    try:
        candidate = offer()
    except QualityGateError as refusal:
        _audit_refusal(lake, refusal, product=product, run_id=run_id)
        raise
    if candidate is None:
        return None
    release, support = candidate.release, candidate.support

    def state(stored: Release) -> Statement:
        return state_release(stored, settings, ledger, support)

    return replace(release, is_new=store_release(lake, release, state=state, run_id=run_id))


def _list_canaries(settings: Settings, canaries: Sequence[str]) -> list[str]:
    return sorted({*canaries, *read_conf_canaries(settings)})


def _audit_refusal(lake: Lake, refusal: PpsehrError, *, product: str, run_id: str) -> None:
    """What was refused and by which gate; codes and counts only."""
    details = {"product": product, "gate": refusal.code, **refusal.fields}
    target = RELEASES.full_name
    append_entry(lake, actor="job:publish", action="refuse_release", target=target, run_id=run_id, details=details)
