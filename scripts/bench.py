"""Measures annotation: how well (``annotate``), how fast (``speed``), what Qwen adds and costs (``lift``, ``tokens``),
what is lost because it is not shown everything (``loss``), how much the changes of a night touch (``refresh``), what
the stages take at size (``scale``), what the annotate job costs beside its engine (``dispatch``), and what the
privacy ledger holds out (``ledger``).

Knows: the command line. Must not know: corpora, peers, figures. Needs the product's environment; the peers have one of
their own, made by ``bench.py peers``. Figures and how to read them: ``docs/annotation-quality.md`` and
``docs/performance.md``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import bench_dispatch
import bench_dp
import bench_ledger
import bench_lift
import bench_loss
import bench_refresh
import bench_scale
import bench_tokens
from bench_annotate import annotate
from bench_corpora import READERS
from bench_peer_runs import HOME, PEER_PYTHON, PEERS, make_environment
from bench_speed import measure

from ppsehr_spark.errors import PpsehrError

_DATA = HOME.parent / "shared" / "data"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one of the benches; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        return int(options.run(options))
    except PpsehrError as error:
        print(f"bench: {error}", file=sys.stderr)
        return int(error.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    _add_annotate(commands.add_parser("annotate", help="quality on gold and public corpora, against peers"))
    _add_speed(commands.add_parser("speed", help="notes per second and core, against peers; flatness; profile"))
    bench_lift.add_arguments(commands.add_parser("lift", help="what tagger and Qwen add per category on gold"))
    bench_loss.add_arguments(commands.add_parser("loss", help="recall lost by asking about doubtful text only"))
    bench_tokens.add_arguments(commands.add_parser("tokens", help="tokens that Qwen reads per note"))
    bench_refresh.add_arguments(commands.add_parser("refresh", help="work of a 1%% change beside the first run"))
    bench_scale.add_arguments(commands.add_parser("scale", help="millions of notes through the Spark stages"))
    bench_dispatch.add_arguments(commands.add_parser("dispatch", help="pace of the annotate job beside a bare engine"))
    bench_ledger.add_arguments(
        commands.add_parser("ledger", help="admission beside 10,000 entries; 8 processes, killed")
    )
    bench_dp.add_arguments(commands.add_parser("dp", help="private statistics beside bare Spark and PipelineDP"))
    peers = commands.add_parser("peers", help="make the peers' environment from requirements/peers.txt")
    peers.add_argument("--peer-python", type=Path, default=PEER_PYTHON, metavar="PYTHON")
    peers.set_defaults(run=lambda options: make_environment(options.peer_python))
    return parser


def _add_annotate(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser)
    parser.add_argument("--corpus", nargs="+", choices=list(READERS), metavar="NAME", help=f"of {', '.join(READERS)}")
    parser.add_argument("--seconds", type=float, default=60.0, metavar="S", help="per peer and corpus, at most")
    parser.add_argument("--limit", type=int, default=0, metavar="N", help="notes per corpus, drawn by hash (0: all)")
    parser.add_argument("--bootstrap", type=int, default=1_000, metavar="N", help="resamples over notes (0: none)")
    parser.add_argument("--markdown", action="store_true", help="tables for docs/annotation-quality.md")
    parser.add_argument(
        "--dump", type=Path, default=None, metavar="FOLDER", help="only write the notes, for ppsehr annotate"
    )
    parser.add_argument(
        "--spans", action="append", default=[], metavar="NAME=FOLDER",
        help="another annotator: what ppsehr annotate wrote for the notes of --dump, FOLDER/CORPUS.jsonl",
    )  # fmt: skip
    parser.set_defaults(run=annotate)


def _add_speed(parser: argparse.ArgumentParser) -> None:
    _add_shared(parser)
    parser.add_argument("--seconds", type=float, default=15.0, metavar="S", help="per peer and text, at most")
    parser.add_argument(
        "--rounds", type=int, default=3, metavar="N", help="rounds of everybody in turn; the best one counts"
    )
    parser.add_argument("--profile", action="store_true", help="where the rules spend their time (cProfile)")
    parser.set_defaults(run=measure)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--data", type=Path, default=_DATA, metavar="FOLDER", help="public corpora (default ../shared/data)"
    )
    parser.add_argument(
        "--peers", nargs="*", choices=PEERS, default=PEERS, metavar="PEER", help=f"of {', '.join(PEERS)}"
    )
    parser.add_argument(
        "--peer-python", type=Path, default=PEER_PYTHON, metavar="PYTHON", help="of the peers' environment"
    )
    parser.add_argument("--page", type=Path, default=None, metavar="FILE", help="also put the tables into this page")
    parser.add_argument("--out", type=Path, default=None, metavar="FILE", help="everything as JSON")


if __name__ == "__main__":
    sys.exit(main())
