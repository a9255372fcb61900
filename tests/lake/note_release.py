"""Publishing as the job does it, for tests that look at the protected notes alone."""

from __future__ import annotations

from collections.abc import Sequence

from ppsehr_spark.config import Settings
from ppsehr_spark.lake.note_publishing import NOTES_PRODUCT
from ppsehr_spark.lake.publishing import publish_products
from ppsehr_spark.lake.release_store import Release
from ppsehr_spark.lake.tables import Lake


def publish_notes(lake: Lake, settings: Settings, *, run_id: str, canaries: Sequence[str] = ()) -> Release:
    """Publish everything and return the release of the notes, or raise what refused it."""
    published = publish_products(lake, settings, run_id=run_id, canaries=canaries)
    for product, refusal in published.refusals:
        if product == NOTES_PRODUCT:
            raise refusal
    return next(release for release in published.releases if release.product == NOTES_PRODUCT)
