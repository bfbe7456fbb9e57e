#!/usr/bin/env bash
# A worker's container: sshd, through which the launcher starts ranks. On SIGTERM (for example, its node is drained) it
# requests its ranks to stop; then all ranks of the job save a checkpoint together, and this container ends after them.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

restart=75  # exit code: no error, start it again

stop() {
  trap '' TERM
  local daemon
  for daemon in $(pgrep -x orted); do pkill -USR1 --parent "$daemon" || true; done
  # Open MPI's daemon ends when it has reported the ranks' exit to the launcher. The pod's grace period limits this wait.
  while pgrep -x orted >/dev/null; do sleep 0.2; done
  kill "$sshd" 2>/dev/null || true
  exit "$restart"
}

/usr/sbin/sshd -D -e -f launch/sshd_config &
sshd=$!
trap stop TERM INT
code=0
wait "$sshd" || code=$?
echo "error: sshd ended with exit code $code: check its key, the Secret mounted at $HOME/.ssh." >&2
exit 1
