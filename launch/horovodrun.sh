#!/usr/bin/env bash
# Starts a job with Horovod's horovodrun, on this machine or on several: `bash launch/horovodrun.sh -H a:4,b:4 -- --model vgg16`.
#
#   -H a:4,b:4, --hostfile FILE   hosts, and the ranks on each; without them this machine
#   -np COUNT                     how many ranks
#   --program FILE                what to run, instead of jobs/train.py
#   --dry_run                     print the command, and run nothing
#
# What follows -- goes to the program as it is. Once launch/setup.sh has been run, --help lists all options.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
need_environment "$@"
exec "$PWD/.venv/bin/python" -m cnn.launching.launcher horovodrun "$@"
