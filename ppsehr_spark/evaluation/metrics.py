"""Every figure there is about a release candidate, and whether it reads real records.

Knows: names and their basis. Must not know: how a figure is computed. ``public`` figures follow from released or
synthetic values alone (post-processing) and may leave; ``internal`` ones read real records and never do.
"""

from __future__ import annotations

from collections.abc import Mapping

PUBLIC, INTERNAL = "public", "internal"
#: Metric -> basis; a row that says otherwise is refused.
METRICS: Mapping[str, str] = {
    "marginal_distance": PUBLIC,
    "marginal_floor": PUBLIC,
    "marginal_noise_floor": PUBLIC,
    "marginal_excess": PUBLIC,
    "mean_marginal_distance": PUBLIC,
    "worst_marginal_excess": PUBLIC,
    "statement_agreement": PUBLIC,
    "record_agreement": PUBLIC,
    "dropped_notes": PUBLIC,
    "notes_with_identifiers": PUBLIC,
    "noise_half_width": PUBLIC,
    "expected_cell_error": PUBLIC,
    "smallest_readable_group": PUBLIC,
    "suppressed_cells": PUBLIC,
    "cells_above_noise": PUBLIC,
    "membership_auc": INTERNAL,
    "membership_true_positive_rate": INTERNAL,
    "epsilon_lower_bound": INTERNAL,
    "epsilon_most_provable": INTERNAL,
}
#: How well small groups are told; the rest is about the whole.
SMALL_GROUP_METRICS = frozenset(
    {"noise_half_width", "expected_cell_error", "smallest_readable_group", "suppressed_cells", "cells_above_noise"}
)
