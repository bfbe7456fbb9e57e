# Finds a Python for the environment, and uv, its package installer; used by launch/setup.sh.

# Whether TensorFlow and the lock files know this Python; TensorFlow has no packages for free-threaded Python.
is_right_python() {
  "$1" -c 'import sys, sysconfig
sys.exit(not (3, 11) <= sys.version_info < (3, 14) or bool(sysconfig.get_config_var("Py_GIL_DISABLED")))' 2>/dev/null
}

# Sets `python` to the first on PATH that is right, else to one that uv downloads.
find_python() {
  for python in python3 python3.13 python3.12 python3.11 python; do
    ! is_right_python "$python" || return 0
  done
  local found reason="neither uv nor pip was found" folder
  found=$(python3 --version 2>/dev/null || echo missing)
  say "no Python 3.11, 3.12 or 3.13 is on PATH (python3 is $found); trying to download Python 3.12 by uv."
  folder=$(mktemp -d /tmp/cnn-uv.XXXXXX)
  if find_uv "$folder"; then
    reason=$("$uv" python install --no-bin 3.12 2>&1) || true
    reason=${reason##*$'\n'}  # the cause of all others
    python=$("$uv" python find --managed-python 3.12 2>/dev/null) || true
  fi
  rm -rf "$folder"
  is_right_python "$python" ||
    fail "Python 3.12 could not be downloaded (${reason##*cause: }); install Python 3.11, 3.12 or 3.13 and run this again."
}

# Sets `uv` to the system's if there is one, else to a copy in the given folder, which the pip of any Python can install.
find_uv() {
  local folder=$1 each
  ! command -v uv >/dev/null || { uv=uv; return; }
  uv=$folder/bin/uv
  ! "$uv" --version >/dev/null 2>&1 || return 0
  for each in python3 python .venv/bin/python; do
    # Where the system's Python has no pip, it may still be able to give an environment one.
    [ "$each" != .venv/bin/python ] || "$each" -m ensurepip >/dev/null 2>&1 || true
    "$each" -m pip --version >/dev/null 2>&1 || continue
    say "installing uv, the package installer."
    PIP_ROOT_USER_ACTION=ignore "$each" -m pip install --quiet --disable-pip-version-check --upgrade --target "$folder" --require-hashes \
      -r launch/uv.txt || fail "uv could not be installed from the package index; the lines above say why."
    return
  done
  return 1
}
