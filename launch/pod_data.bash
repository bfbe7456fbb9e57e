# For containers' scripts to source.

# wait_for_data MARKER SECONDS: waits for the file that says that the data are prepared, and exits with 1 if it does not
# come in time. A script whose handler of signals only sets `requested` is left with 75 then: no error, start it again.
wait_for_data() {
  local marker=$1 seconds=$2 left
  for ((left = seconds; left > 0; left--)); do
    [ -z "${requested:-}" ] || exit 75
    [ ! -e "$marker" ] || break
    ((left % 30)) || echo "waiting for the data to be prepared ($left s left)"
    sleep 1
  done
  if [ ! -e "$marker" ]; then
    echo "error: the data are not prepared after $seconds s ($marker is missing): check the job that prepares them." >&2
    exit 1
  fi
}
