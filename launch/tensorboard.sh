#!/usr/bin/env bash
# Shows the runs in a browser: `bash launch/tensorboard.sh`, then http://localhost:6006.
# `--port 7000` and `--logdir runs/a` choose another port and folder; other options are passed to tensorboard, for
# example `--bind_all`, which admits other machines.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

fail() { echo "error: $*" >&2; exit 2; }

port=6006 logdir=runs more=()
while [ $# -gt 0 ]; do
  case $1 in
    --port | --logdir)
      [ $# -gt 1 ] || fail "$1 needs a value."
      declare "${1#--}=$2"
      shift 2
      ;;
    --port=* | --logdir=*)
      name=${1%%=*}
      declare "${name#--}=${1#*=}"
      shift
      ;;
    *)
      more+=("$1")
      shift
      ;;
  esac
done

[ -x .venv/bin/tensorboard ] || fail "there is no environment in $PWD/.venv: run launch/setup.sh."
if ! [[ $port =~ ^[0-9]{1,5}$ ]] || [ "$port" -lt 1 ] || [ "$port" -gt 65535 ]; then
  fail "--port $port is not a port: choose a number from 1 to 65535."
fi
[ -d "$logdir" ] || fail "the folder $logdir does not exist: train something first, or name another one by --logdir."
! (exec 3<>"/dev/tcp/localhost/$port") 2>/dev/null ||
  fail "port $port is in use, perhaps by another TensorBoard: end that, or choose another --port."

exec .venv/bin/tensorboard --logdir "$logdir" --port "$port" "${more[@]}"
