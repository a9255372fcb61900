"""The count of ``bench.py dp`` by PipelineDP, in an environment of its own: rows.csv keys.json MAX_CELLS [EPSILON].

Knows: PipelineDP's local backend. Must not know: the product; its environment is not here. Prints JSON: seconds,
and the counts in the order of the keys.
"""

from __future__ import annotations

import csv
import json
import sys
import time


def main() -> None:
    """Count distinct patients per (department, code) with the same bounds."""
    import pipeline_dp as dp

    rows_file, keys_file, max_cells = sys.argv[1], sys.argv[2], int(sys.argv[3])
    epsilon = float(sys.argv[4]) if len(sys.argv) > 4 else 1.0
    with open(rows_file, encoding="utf-8", newline="") as lines:
        rows = [(patient, (department, code)) for patient, department, code in csv.reader(lines)]
    with open(keys_file, encoding="utf-8") as text:
        keys = [tuple(key) for key in json.load(text)]
    started = time.perf_counter()
    accountant = dp.NaiveBudgetAccountant(total_epsilon=epsilon, total_delta=1e-7)
    params = dp.AggregateParams(
        metrics=[dp.Metrics.PRIVACY_ID_COUNT],
        noise_kind=dp.NoiseKind.GAUSSIAN,
        max_partitions_contributed=max_cells,
        max_contributions_per_partition=1,
    )
    extract = dp.DataExtractors(
        privacy_id_extractor=lambda row: row[0], partition_extractor=lambda row: row[1], value_extractor=lambda _: 0
    )
    released = dp.DPEngine(accountant, dp.LocalBackend()).aggregate(rows, params, extract, public_partitions=keys)
    accountant.compute_budgets()
    counts = {key: values.privacy_id_count for key, values in released}
    seconds = time.perf_counter() - started
    json.dump({"seconds": seconds, "counts": [counts[key] for key in keys]}, sys.stdout)


if __name__ == "__main__":
    main()
