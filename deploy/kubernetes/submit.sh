#!/usr/bin/env bash
# Usage: submit.sh JOB [job arguments]. Runs jobs/JOB.py on Kubernetes in cluster mode, from the Spark image, which
# holds the product, its packages and the Delta jars.
# PPSEHR_API: the API server's URL. PPSEHR_NAMESPACE, PPSEHR_IMAGE, PPSEHR_SERVICE_ACCOUNT: what the names say.
# The secret `ppsehr-identity` holds the file identity.key.
set -euo pipefail
cd "$(dirname "$0")/../.."
job="${1:?usage: submit.sh JOB [arguments]}"
shift
[ -f "jobs/$job.py" ] || { echo "submit: no jobs/$job.py" >&2; exit 2; }

defaults=()
while read -r name value; do
    case "$name" in '' | '#'* | spark.jars) ;; *) defaults+=(--conf "$name=$value") ;; esac
done <spark-defaults.conf

command=(
    "${SPARK_SUBMIT:-spark-submit}" --master "k8s://${PPSEHR_API:-https://kubernetes.default.svc}" --deploy-mode cluster
    --name "ppsehr-$job" --properties-file conf/spark/cluster.conf --load-spark-defaults "${defaults[@]}"
    --conf "spark.kubernetes.namespace=${PPSEHR_NAMESPACE:-ppsehr}"
    --conf "spark.kubernetes.container.image=${PPSEHR_IMAGE:-ppsehr-spark:0.1.0}"
    --conf "spark.kubernetes.authenticate.driver.serviceAccountName=${PPSEHR_SERVICE_ACCOUNT:-ppsehr}"
    --conf spark.kubernetes.driver.secrets.ppsehr-identity=/etc/ppsehr
    --conf spark.kubernetes.executor.secrets.ppsehr-identity=/etc/ppsehr
    --conf spark.kubernetes.local.dirs.tmpfs=false
    "local:///opt/ppsehr/jobs/$job.py" --profile cluster "$@"
)
if [ -n "${PPSEHR_DRY_RUN:-}" ]; then printf '%q ' "${command[@]}"; echo; else exec "${command[@]}"; fi
