#!/usr/bin/env bash
# A container of an Indexed Job, which needs no operator: index 0 is the launcher and also runs ranks, the others are
# workers. WORKERS is the number of containers, SLOTS the ranks in each, SERVICE the headless Service for their names.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

if [ "$JOB_COMPLETION_INDEX" -ne 0 ]; then
  exec bash launch/pod_worker.sh
fi
export CNN_HOSTFILE=/tmp/hostfile
{
  echo "$HOSTNAME slots=$SLOTS"
  for ((index = 1; index < WORKERS; index++)); do echo "${HOSTNAME%-0}-$index.$SERVICE slots=$SLOTS"; done
} >"$CNN_HOSTFILE"
unset JOB_COMPLETION_INDEX  # with it, a rank would be refused as one of several unconnected processes
exec bash launch/pod_launcher.sh "$@"
