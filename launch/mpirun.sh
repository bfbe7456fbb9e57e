#!/usr/bin/env bash
# Starts a job with Open MPI's mpirun, on this machine or on several: `bash launch/mpirun.sh -H a:4,b:4 -- --model vgg16`.
# `--help` lists the options, `--dry_run` prints the command.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
PATH="$root/.venv/bin:$PATH" exec "$root/.venv/bin/python" -m cnn.cluster.launcher mpirun "$@"
