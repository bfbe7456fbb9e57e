#!/usr/bin/env bash
# A worker's container: sshd, by which the launcher starts ranks here. Asked to end (SIGTERM: its node is drained, say),
# it asks its ranks to stop, whereupon all ranks save a checkpoint together, and ends after them.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

again=75  # exit code: nothing is wrong, start it again

stop() {
  trap '' TERM
  local daemon
  for daemon in $(pgrep -x orted); do pkill -USR1 --parent "$daemon" || true; done
  # Open MPI's daemon ends when the launcher has heard how the ranks ended. The pod's grace period bounds this.
  while pgrep -x orted >/dev/null; do sleep 0.2; done
  kill "$sshd" 2>/dev/null || true
  exit "$again"
}

/usr/sbin/sshd -D -e -f launch/sshd_config &
sshd=$!
trap stop TERM INT
code=0
wait "$sshd" || code=$?
echo "error: sshd ended with exit code $code: its key is the Secret that is mounted at $HOME/.ssh." >&2
exit 1
