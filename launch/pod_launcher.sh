#!/usr/bin/env bash
# The launcher's container: `pod_launcher.sh RUN_DIR SETTINGS...` waits until the data are prepared and the workers can be
# entered, then trains, a rank for each slot of the hostfile. Started again, it goes on with the run in RUN_DIR. SIGTERM
# stops all ranks at a checkpoint. Exit codes are those of jobs/train.py: 0 done, 2 a mistake (starting it again is no
# use), 75 stopped when asked to (again), all others: again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

seconds=${CNN_WAIT_SECONDS:-600}  # for the data, and then for the workers
again=75
run_dir=$1
shift

child="" asked=""
stop() {
  asked=yes
  # Open MPI passes SIGUSR1 on to all ranks. Before it does, there is nothing to save, and the signal ends it.
  [ -z "$child" ] || kill -USR1 "$child" 2>/dev/null || true
}
trap stop TERM INT

marker=$(bash launch/pod_prepare.sh --marker)
for ((left = seconds; left > 0; left--)); do
  [ -z "$asked" ] || exit "$again"
  [ ! -e "$marker" ] || break
  ((left % 30)) || echo "waiting for the data to be prepared ($left s left)"
  sleep 1
done
if [ ! -e "$marker" ]; then
  echo "error: the data are not prepared after $seconds s ($marker is missing): look at the job that prepares them." >&2
  exit 1
fi

resume=()
[ ! -e "$run_dir/settings.yaml" ] || resume=(--resume)
bash launch/mpirun.sh --wait "$seconds" --oversubscribe -- --run_dir "$run_dir" "${resume[@]}" "$@" &
child=$!
[ -z "$asked" ] || stop  # a signal that came in between
wait "$child" || true
while kill -0 "$child" 2>/dev/null; do wait "$child" || true; done  # a signal ends a wait, not the child
code=0
wait "$child" || code=$?
[ -z "$asked" ] || [ "$code" -ne $((128 + 10)) ] || code=$again
exit "$code"
