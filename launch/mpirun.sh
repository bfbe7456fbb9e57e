#!/usr/bin/env bash
# Starts a job with Open MPI's mpirun, on this machine or several: `bash launch/mpirun.sh -H a:4,b:4 -- --model vgg16`.
#
#   -H a:4,b:4, --hostfile FILE   hosts and ranks on each; default: this machine
#   -np COUNT                     number of ranks
#   --program FILE                program to run instead of jobs/train.py
#   --dry_run                     print the command instead of running it
#
# Arguments after -- are passed to the program. After launch/setup.sh has been run, --help lists all options.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
need_environment "$@"
exec "$PWD/.venv/bin/python" -m cnn.launching.launcher mpirun "$@"
