#!/usr/bin/env bash
# Usage: submit.sh JOB [job arguments]. Runs jobs/JOB.py on YARN in cluster mode.
# PPSEHR_QUEUE: YARN queue. PPSEHR_PYENV: URI of an archive with Python 3.11 and requirements/lock-spark.txt installed
# (`conda-pack` or a relocatable venv), unpacked on each container as ./pyenv.
set -euo pipefail
cd "$(dirname "$0")/../.."
job="${1:?usage: submit.sh JOB [arguments]}"
shift
[ -f "jobs/$job.py" ] || { echo "submit: no jobs/$job.py" >&2; exit 2; }
zip=(dist/ppsehr_spark-*.zip)
[ -f "${zip[0]}" ] || { echo "submit: no zip in dist/; run make dist" >&2; exit 3; }
jars="$(printf '%s,' .cache/jars/*.jar)"
pyenv="${PPSEHR_PYENV:-hdfs:///ppsehr/pyenv-3.11.tar.gz}"

# The product's own defaults, name by name; spark.jars stays with --jars, which ships them.
defaults=()
while read -r name value; do
    case "$name" in '' | '#'* | spark.jars) ;; *) defaults+=(--conf "$name=$value") ;; esac
done <spark-defaults.conf

command=(
    "${SPARK_SUBMIT:-spark-submit}" --master yarn --deploy-mode cluster --queue "${PPSEHR_QUEUE:-default}"
    --name "ppsehr-$job" --properties-file conf/spark/cluster.conf --load-spark-defaults "${defaults[@]}"
    --jars "${jars%,}" --py-files "${zip[0]}" --archives "$pyenv#pyenv"
    --conf spark.yarn.appMasterEnv.PYSPARK_PYTHON=./pyenv/bin/python
    --conf spark.executorEnv.PYSPARK_PYTHON=./pyenv/bin/python
    --conf spark.yarn.maxAppAttempts=1
    "jobs/$job.py" --profile cluster "$@"
)
if [ -n "${PPSEHR_DRY_RUN:-}" ]; then printf '%q ' "${command[@]}"; echo; else exec "${command[@]}"; fi
