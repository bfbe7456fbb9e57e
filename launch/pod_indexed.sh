#!/usr/bin/env bash
# A container of an Indexed Job, which needs no operator: index 0 is the launcher and also runs ranks, the others are
# workers. CNN_EXPECTED_HOSTS is the number of containers, CNN_EXPECTED_WORKERS_PER_HOST the ranks in each, SERVICE the
# headless Service for their names.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

if [ "$JOB_COMPLETION_INDEX" -ne 0 ]; then
  exec bash launch/pod_worker.sh
fi
export CNN_HOSTFILE=/tmp/hostfile
{
  slots=$CNN_EXPECTED_WORKERS_PER_HOST
  echo "$HOSTNAME slots=$slots"
  for ((index = 1; index < CNN_EXPECTED_HOSTS; index++)); do echo "${HOSTNAME%-0}-$index.$SERVICE slots=$slots"; done
} >"$CNN_HOSTFILE"
exec bash launch/pod_launcher.sh "$@"
