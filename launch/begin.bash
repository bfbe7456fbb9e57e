# Common beginning of the other scripts: . "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"

# Opens /dev/null for closed standard streams: otherwise the next opened file would get their descriptor, and the output.
for file in 0 1 2; do
  [ -e "/proc/$$/fd/$file" ] || eval "exec $file<>/dev/null"
done

script=$(readlink -f "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# If --help or -h is among the options before --, prints the comment at the top of the script, and exits.
help_if_asked() {
  local word
  for word in "$@"; do
    case $word in
      --) return ;;
      -h | --help)
        sed -n '/^#!/d; /^#SBATCH/d; s/^# \{0,1\}//p; t; q' "$script"
        exit 0
        ;;
    esac
  done
}

# Exits with an error if launch/setup.sh has not been run; --help works nevertheless.
need_environment() {
  [ ! -x .venv/bin/python ] || return 0
  help_if_asked "$@"
  echo "error: there is no complete environment in $PWD/.venv: run launch/setup.sh." >&2
  exit 2
}
