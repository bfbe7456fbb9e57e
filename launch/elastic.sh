#!/usr/bin/env bash
# Trains while workers come and go: `bash launch/elastic.sh ./hosts.sh --min 2 --max 8 -- --model vgg16 --run_dir runs/flowers`.
# hosts.sh prints the hosts that there are now, `a:4` on each line.
#
#   --min COUNT, --max COUNT   ranks without which training waits for hosts; ranks at most
#   --wait SECONDS             how long it waits for --min ranks
#   --dry_run                  print the command, and run nothing
#
# What follows -- goes to jobs/train.py as it is. Once launch/setup.sh has been run, --help lists all options.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
need_environment "$@"
exec "$PWD/.venv/bin/python" -m cnn.launching.elastic_launcher "$@"
