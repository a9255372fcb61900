"""Remove persons from every table, its history and the files of the lake, with a certificate (Spark, deltalake)."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ppsehr_spark.lake.erasure_request import ErasureRequest, read_request
from ppsehr_spark.runtime import RunContext, Stage, StageResult, run_job
from ppsehr_spark.spark.erasure.erasing import Eraser, erase_persons, preview_erasure
from ppsehr_spark.spark.session import open_session


def _request(context: RunContext) -> ErasureRequest:
    given = context.arguments
    told = {"path": given.patients, "reason": given.reason, "requested_by": given.requested_by}
    return read_request(context.lake, context.settings, **told)


def _body(context: RunContext) -> StageResult:
    request = _request(context)
    folders = [Path(folder) for folder in context.arguments.search]
    eraser = Eraser(open_session("erase"), context.lake, context.settings, context.run_id, folders)
    done = erase_persons(eraser, request)
    for path, sha256 in done.certificates:
        print(f"erase: certificate {path} sha256={sha256}", file=sys.stderr)
    if not done.certificates:
        print("erase: nobody to erase, all of them were erased before", file=sys.stderr)
    if done.n_elsewhere:
        print(f"erase: {done.n_elsewhere} files outside the lake still hold something of them", file=sys.stderr)
    counts = {"n_persons": done.n_persons, "n_rows": done.n_rows, "n_certificates": len(done.certificates)}
    return StageResult({**counts, "n_files_elsewhere": done.n_elsewhere}, is_partial=done.n_elsewhere > 0)


def _add_arguments(parser: argparse.ArgumentParser) -> None:
    one = "source patient ids or patient keys, one per line (UTF-8); never given on the command line"
    parser.add_argument("--patients", required=True, metavar="FILE", help=one)
    parser.add_argument("--reason", required=True, metavar="CODE", help="code of the reason, for the certificate")
    parser.add_argument("--requested-by", required=True, metavar="NAME", help="role account that asks for it")
    more = "folder of this machine to search beside the lake (exported files); may be repeated"
    parser.add_argument("--search", action="append", default=[], metavar="DIR", help=more)


STAGE = Stage(
    name="erase",
    help=__doc__,
    body=_body,
    conf_sections=("identity", "maintain"),
    add_arguments=_add_arguments,
    plan=lambda context: preview_erasure(open_session("erase"), context.lake, _request(context)),
    example="ppsehr erase --lake .state/lake --patients persons.txt --reason PIPL-47-3 --requested-by dpo.chen",
)

if __name__ == "__main__":
    sys.exit(run_job(STAGE))
