# shellcheck shell=bash
# Set-up for ./demo and ./check: Debian packages and the two virtual environments. Skips what is already done.
# Sourced with the repository's root as current folder; uses PYTHON (default: the first of 3.11 or newer).

VENV=.venv
SWIFT_VENV=.venv-swift
LEAST=3.11
RECORD=${LEITSTAND_ROOT:-}/var/lib/leitstand-setup # see lab/install.sh
# What ./demo and ./check need for the hosts of lab/fleet, when these are asked for.
# shellcheck disable=SC2034
FLEET_CACHE=${LEITSTAND_LAB_CACHE:-${LEITSTAND_ROOT:-}/var/cache/leitstand-lab}
# shellcheck disable=SC2034
FLEET_PACKAGES="mmdebstrap systemd-container iproute2 nftables apt-utils openssh-client knot"
child=""

say() { if [ -t 1 ]; then printf '\033[1m==>\033[0m %s\n' "$*"; else printf '==> %s\n' "$*"; fi; }

die() { # MESSAGE HINT [STATUS]
  printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
  exit "${3:-3}"
}

as_root() {
  if [ $EUID = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo ${LEITSTAND_ROOT:+LEITSTAND_ROOT="$LEITSTAND_ROOT"} "$@"
  else
    return 1
  fi
}

interrupted() {
  trap '' INT TERM HUP
  if [ -n "$child" ]; then
    as_root kill -INT -- "-$child" 2>/dev/null || kill -INT -- "-$child" 2>/dev/null
    wait "$child" || true
  fi
  echo "interrupted" >&7
  exit 130
}
exec 7>&2 # the terminal, even while standard error is redirected
trap interrupted INT TERM HUP

# In a process group of its own: on Ctrl-C we end the command, wait until it has cleaned up, and print one line.
apart() { # COMMAND… -> its status
  local status=0
  set -m
  "$@" </dev/null 7>&- &
  child=$!
  set +m
  wait "$child" || status=$?
  child=""
  return $status
}

logged() { # COMMAND… -> its status; its output is shown only if it fails
  local log status=0
  log=$(mktemp)
  apart "$@" >"$log" 2>&1 || status=$?
  [ $status -eq 0 ] || tail -n 20 "$log" >&2
  rm -f "$log"
  return $status
}

# No $(…) in what runs every time: bash 5.2 mishandles Ctrl-C during one.
find_missing() { # PACKAGE… ; sets missing
  local package
  missing=""
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || missing="$missing$package "
  done
}

install_packages() { # PACKAGE…
  local missing log
  find_missing "$@"
  if [ -z "$missing" ]; then
    # What a kill -9 left of another set-up.
    [ ! -e "$RECORD/planned" ] || as_root lab/install.sh 2>/dev/null || true
    return 0
  fi
  command -v apt-get >/dev/null || die "this is not Debian, and these packages are missing: $missing" "use Debian 12 or newer"
  as_root true || die "these Debian packages are missing, and this user cannot install them: $missing" \
    "as root: apt-get install $missing"
  say "Debian packages: installing $missing"
  log=$(mktemp)
  # shellcheck disable=SC2086 # the list is meant to be split
  if ! apart as_root lab/install.sh $missing 2>"$log"; then
    tail -n 20 "$log" >&2
    die "apt-get could not install: $missing" "see its message above; the whole log is in $log"
  fi
  rm -f "$log"
  say "installed, without starting or enabling services; to remove everything again: ./demo --remove"
}

find_python() { # sets PYTHON, installing it where there is none; refuses one that is too old
  local name found=""
  for name in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    command -v "$name" >/dev/null || continue
    found=${found:-$name}
    if "$name" -ISc "import sys; sys.exit(sys.version_info < (${LEAST/./, }))" 2>/dev/null; then
      PYTHON=$name
      return 0
    fi
  done
  [ -z "$found" ] || die "needs Python $LEAST or newer; this is $("$found" -c 'import sys; print("%d.%d" % sys.version_info[:2])')" \
    "install a newer one, or name it: PYTHON=/path/to/python ./${0##*/}"
  [ -z "${PYTHON:-}" ] || die "$PYTHON: no such program" "set PYTHON to the Python to use"
  [ "${1:-}" != again ] || die "needs Python $LEAST or newer" "install it"
  install_packages python3 python3-venv
  find_python again
}

state_of() { # LOCK -> what an environment made from it depends on
  cat "$1" pyproject.toml | sha256sum
}

environment_is_ready() { # FOLDER LOCK
  [ -x "$1/bin/python" ] && state_of "$2" | cmp -s - "$1/lock.sha256"
}

make_environment() { # FOLDER LOCK WHAT
  environment_is_ready "$1" "$2" && return 0
  mkdir -p "$1" 2>/dev/null || true
  [ -w "$1" ] || die "$PWD/$1 cannot be written by $(id -un)" "use a checkout of your own, or run this once as the owner of this one"
  say "Python environment $1: installing $3 (pinned by hash, $2)"
  if [ ! -x "$1/bin/python" ]; then
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    logged "$PYTHON" -m venv "$1" || die "cannot make a virtual environment with $PYTHON" "install python3-venv"
  fi
  logged "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$2" ||
    die "pip could not install $2" "see its message above; is a package index reachable?"
}

finish_environment() { # FOLDER LOCK
  state_of "$2" >"$1/lock.sha256"
}

set_up_python() {
  if ! environment_is_ready $VENV requirements/dev.txt; then
    make_environment $VENV requirements/dev.txt "Leitstand's requirements"
    logged $VENV/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . ||
      die "pip could not install this checkout" "see its message above"
    finish_environment $VENV requirements/dev.txt
  fi
}

set_up_swift() {
  if ! environment_is_ready $SWIFT_VENV requirements/swift.txt; then
    make_environment $SWIFT_VENV requirements/swift.txt "OpenStack Swift"
    finish_environment $SWIFT_VENV requirements/swift.txt
  fi
}

set_up() { # PACKAGE…
  find_python
  install_packages "$@"
  set_up_python
  set_up_swift
}
