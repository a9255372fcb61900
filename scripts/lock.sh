#!/usr/bin/env bash
# Resolve requirements/packages.in into requirements/lock.txt. Pins that still fit are kept; no index address is
# written, so the lock serves any mirror.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
PATH="../.cache/bootstrap/bin:$PATH"
resolve() {
    uv pip compile "$1" --python-version 3.11 --python-platform linux --generate-hashes --no-emit-index-url \
        --no-emit-find-links --no-header --no-annotate --quiet "${@:2}"
}
resolve packages.in --override overrides.txt -o lock.txt
# Images for Spark hosts: a subset of the same pins.
resolve spark.in --constraint lock.txt -o lock-spark.txt
resolve peers.in -o peers.txt
! grep -n "://" lock.txt lock-spark.txt peers.txt
