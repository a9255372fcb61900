"""Take a group of terms and one rule out of conf, let ``evolve`` learn them back, and say how much it won on test.

Knows: which rows and which pattern are taken out, and how lost recall is counted. Must not know: how evolve works. The
dev half of the gold set is learned from, the other half only measured, once.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from jobs.evolve import STAGE
from ppsehr_spark.config import read_conf_files
from ppsehr_spark.domain.knowledge.applying import apply_entries
from ppsehr_spark.domain.knowledge.entries import KnowledgeEntry
from ppsehr_spark.evaluation.knowledge_scores import measure_entries
from ppsehr_spark.evaluation.reviewed_sources import read_reviewed
from ppsehr_spark.lake.knowledge_store import read_current
from ppsehr_spark.lake.tables import Lake
from ppsehr_spark.runtime import run_job

#: Name -> lexicon rows that match are taken out, and of a category the ``[[pattern]]`` of that id.
WEAKNESSES: dict[str, tuple[dict[str, str], dict[str, str]]] = {
    "places": (
        {"lexicons/hospital_kinds.tsv": "卫生|保健", "lexicons/std_terms.tsv": "HIV"},
        {"categories/CONTACT.toml": "mobile"},
    ),
    "labels": ({"lexicons/name_labels.tsv": r"\tlabel$"}, {"categories/CONTACT.toml": "email"}),
    "titles": ({"lexicons/name_labels.tsv": r"\ttitle$"}, {"categories/CONTACT.toml": "landline"}),
    "pregnancy": ({"lexicons/pregnancy_terms.tsv": "流产|HCG"}, {"categories/ID.toml": "form"}),
}


def weaken(files: Mapping[str, str], weakness: str = "places") -> dict[str, str]:
    """Conf without the planted rows and rule."""
    weak = dict(files)
    terms, rules = WEAKNESSES[weakness]
    for path, wanted in terms.items():
        rows = weak[path].split("\n")
        weak[path] = "\n".join(row for row in rows if row.startswith("#") or not re.search(wanted, row))
    for path, rule in rules.items():
        parts = re.split(r"(?m)^(?=\[\[pattern\]\])", weak[path])
        weak[path] = "".join(part for part in parts if f'id = "{rule}"' not in part)
    return weak


def count_found(files: Mapping[str, str], entries: Sequence[KnowledgeEntry], gold: str) -> Counter[str]:
    """True spans of the test half that are found strictly, per category."""
    measured = measure_entries(apply_entries(files, entries), (), read_reviewed(gold, half="test"))
    found: Counter[str] = Counter()
    for tally in measured.tallies.values():
        found.update({name: agreed for name, (_, _, agreed) in tally.items() if "." not in name})
    return found


def compare(healthy: Counter[str], weak: Counter[str], taught: Counter[str]) -> dict[str, object]:
    """Spans lost by the weakness and won back, per category; no category counts for more than it had lost."""
    hurt = sorted(name for name in healthy if weak[name] < healthy[name])
    lost = {name: healthy[name] - weak[name] for name in hurt}
    won = {name: taught[name] - weak[name] for name in hurt}
    share = sum(min(won[name], lost[name]) for name in hurt) / sum(lost.values()) if lost else 1.0
    worse = {name: weak[name] - taught[name] for name in sorted(weak) if taught[name] < weak[name]}
    return {"lost": lost, "won_back": won, "share": round(share, 4), "fewer_than_before": worse}


def main(argv: Sequence[str] | None = None) -> int:
    """Plant, learn, measure; prints one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", required=True, type=Path, help="folder for the weakened conf and the lake; made anew")
    parser.add_argument("--gold", default="tests/data/gold", help="gold folder; dev half learns, test half measures")
    parser.add_argument("--weakness", default="places", choices=list(WEAKNESSES), help="what is taken out")
    parser.add_argument("--engine", default="none", help="evolve.engine: none, vllm, transformers, openai")
    parser.add_argument("--profile", default="laptop", help="conf/profiles/NAME.toml")
    parser.add_argument("--no-induction", action="store_true", help="the model alone proposes")
    options = parser.parse_args(argv)
    shutil.rmtree(options.work, ignore_errors=True)
    files = read_conf_files()
    planted = weaken(files, options.weakness)
    if options.no_induction:
        planted["knowledge.toml"] = re.sub(r"(?m)^max_proposals = \d+", "max_proposals = 0", planted["knowledge.toml"])
    for path, text in planted.items():
        place = options.work / "conf" / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text, encoding="utf-8")
    lake = str(options.work / "lake")
    arguments = ["--lake", lake, "--conf", str(options.work / "conf"), "--gold", options.gold]
    arguments += ["--profile", options.profile, "--set", f"evolve.engine={options.engine}"]
    code = run_job(STAGE, [*arguments, "--set", f'identity.key_file="{options.work / "identity.key"}"'])
    if code:
        return code
    entries = read_current(Lake(lake)).entries
    counts = [count_found(*case, options.gold) for case in ((files, ()), (planted, ()), (planted, entries))]
    print(
        json.dumps(
            {"weakness": options.weakness, "engine": options.engine, "n_entries": len(entries), **compare(*counts)},
            ensure_ascii=False,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
