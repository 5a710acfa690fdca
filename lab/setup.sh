# shellcheck shell=bash
# Set-up for ./demo and ./check: Debian packages and the two virtual environments. Does nothing that is done already.
# Sourced with the repository's root as current folder; uses PYTHON (default python3).

PYTHON=${PYTHON:-python3}
VENV=.venv
SWIFT_VENV=.venv-swift

say() { if [ -t 1 ]; then printf '\033[1m==>\033[0m %s\n' "$*"; else printf '==> %s\n' "$*"; fi; }

die() { # MESSAGE HINT
  printf 'error: %s\n  hint: %s\n' "$1" "$2" >&2
  exit 3
}

any_python() { # -> the environment's Python, else the system's
  if [ -x $VENV/bin/python ]; then echo $VENV/bin/python; else echo "$PYTHON"; fi
}

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif command -v sudo >/dev/null && sudo -n true 2>/dev/null; then
    sudo "$@"
  else
    return 1
  fi
}

missing_packages() { # PACKAGE… -> those that are not installed
  local package
  for package in "$@"; do
    dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null | grep -q '^ii' || echo "$package"
  done
}

# Installing a server must not start it here: our own processes serve, on ports of their own.
with_no_services_started() {
  local policy=/usr/sbin/policy-rc.d made="" status=0
  if [ ! -e $policy ]; then
    printf '#!/bin/sh\nexit 101\n' | as_root tee $policy >/dev/null && as_root chmod 755 $policy && made=yes
  fi
  "$@" || status=$?
  [ -z "$made" ] || as_root rm -f $policy
  return $status
}

install_packages() { # PACKAGE…
  local missing log
  missing=$(missing_packages "$@" | tr '\n' ' ')
  [ -n "$missing" ] || return 0
  say "Debian packages: installing $missing"
  as_root true || die "these Debian packages are missing and this user cannot install them: $missing" \
    "as root: apt-get install $missing"
  log=$(mktemp)
  as_root apt-get update -q -o Dpkg::Use-Pty=0 >"$log" 2>&1 || say "apt-get update failed; going on with the present lists"
  # shellcheck disable=SC2086 # the list is meant to be split
  if ! with_no_services_started as_root env DEBIAN_FRONTEND=noninteractive apt-get install -q -y \
    --no-install-recommends -o Dpkg::Use-Pty=0 $missing >>"$log" 2>&1; then
    tail -n 20 "$log" >&2
    die "apt-get could not install: $missing" "see its message above; all of it is in $log"
  fi
  rm -f "$log"
}

state_of() { # LOCK -> what an environment made from it depends on
  cat "$1" pyproject.toml | sha256sum
}

environment_is_ready() { # FOLDER LOCK
  [ -x "$1/bin/python" ] && [ "$(cat "$1/lock.sha256" 2>/dev/null)" = "$(state_of "$2")" ]
}

make_environment() { # FOLDER LOCK WHAT
  environment_is_ready "$1" "$2" && return 0
  mkdir -p "$1" 2>/dev/null || true
  [ -w "$1" ] || die "$PWD/$1 cannot be written by $(id -un)" "use a checkout of your own, or do this once as the owner of this one"
  say "Python environment $1: installing $3 (pinned by hash, $2)"
  if [ ! -x "$1/bin/python" ]; then
    "$PYTHON" -c 'import ensurepip, venv' 2>/dev/null || install_packages python3-venv
    "$PYTHON" -m venv "$1" || die "cannot make a virtual environment with $PYTHON" "install python3-venv"
  fi
  "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r "$2" ||
    die "pip could not install $2" "see its message above; is a package index reachable?"
}

finish_environment() { # FOLDER LOCK
  state_of "$2" >"$1/lock.sha256"
}

set_up_python() {
  if ! environment_is_ready $VENV requirements/dev.txt; then
    make_environment $VENV requirements/dev.txt "Leitstand's requirements"
    $VENV/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable . ||
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
