#!/usr/bin/env bash
# Resolve requirements/packages.in into requirements/lock.txt. Pins that still fit are kept; no index address is
# written, so the lock serves any mirror.
set -euo pipefail
cd "$(dirname "$0")/../requirements"
PATH="../.cache/bootstrap/bin:$PATH"
uv pip compile packages.in --override overrides.txt --python-version 3.11 --python-platform linux \
    --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate --quiet -o lock.txt
! grep -n '://' lock.txt
