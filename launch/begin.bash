# What the other scripts begin with: . "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")/begin.bash"

# What is closed gets /dev/null: the next file that is opened would else take its number, and get all that is printed.
for file in 0 1 2; do
  [ -e "/proc/$$/fd/$file" ] || eval "exec $file<>/dev/null"
done

script=$(readlink -f "$0")
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Where --help or -h is among the options, before a -- if there is one: prints the comment at the script's top, and ends.
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

# Ends the script where launch/setup.sh has not been run, after helping who asks for help.
need_environment() {
  [ ! -x .venv/bin/python ] || return 0
  help_if_asked "$@"
  echo "error: there is no environment in $PWD/.venv, or not any more: run launch/setup.sh." >&2
  exit 2
}
