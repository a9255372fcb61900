# Source this (`source scripts/env.sh`) to start jobs by hand: it names Spark, its conf folder and the one Python, and
# keeps every library off the network. Works in bash, zsh and sh (the latter from the checkout's root).
if [ -n "${BASH_SOURCE:-}" ]; then _ppsehr_here="${BASH_SOURCE[0]}"; elif [ -n "${ZSH_VERSION:-}" ]; then _ppsehr_here="${(%):-%x}"; else _ppsehr_here="scripts/env.sh"; fi
PPSEHR_HOME="$(cd "$(dirname "$_ppsehr_here")/.." && pwd)"
unset _ppsehr_here
export PPSEHR_HOME
export VIRTUAL_ENV="$PPSEHR_HOME/.venv"
case ":$PATH:" in *":$VIRTUAL_ENV/bin:"*) ;; *) export PATH="$VIRTUAL_ENV/bin:$PATH" ;; esac

# Spark: without SPARK_HOME spark-submit finds no Spark; without PYSPARK_PYTHON workers take the system's Python.
export SPARK_HOME="$VIRTUAL_ENV/lib/python3.11/site-packages/pyspark"
export SPARK_CONF_DIR="$PPSEHR_HOME/conf/spark"
export PYSPARK_PYTHON="$VIRTUAL_ENV/bin/python"
export PYSPARK_DRIVER_PYTHON="$VIRTUAL_ENV/bin/python"
export SPARK_LOCAL_IP="${SPARK_LOCAL_IP:-127.0.0.1}"
export PYTHONUTF8=1
# Every stage is a process of its own: without cached bytecode each of them compiles pandas, torch and the rest anew.
unset PYTHONDONTWRITEBYTECODE

# After set-up nothing touches the network, and nobody is told that we ran.
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
export RAY_USAGE_STATS_ENABLED=0 VLLM_NO_USAGE_STATS=1 DO_NOT_TRACK=1
export STREAMLIT_BROWSER_GATHER_USAGE_STATS=false
export TOKENIZERS_PARALLELISM=false
