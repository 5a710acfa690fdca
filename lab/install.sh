#!/usr/bin/env bash
# Install Debian packages for ./demo and ./check and leave the rest of the machine as it was: none of their services is
# started or enabled. lab/setup.sh runs it as root; messages for the user go to stdout, the log to stderr:
#   lab/install.sh [PACKAGE…]    install, and record what is new. Without packages: finish what a kill -9 interrupted
#   lab/install.sh --remove      remove what was recorded, except what is in use by now
set -uo pipefail

ROOT=${LEITSTAND_ROOT:-} # tests use another
RECORD=$ROOT/var/lib/leitstand-setup
POLICY=$ROOT/usr/sbin/policy-rc.d
MARK='# Leitstand: ./demo or ./check is installing packages; if neither is running, this file can be deleted'
APT=(env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o Dpkg::Use-Pty=0 -o DPkg::Lock::Timeout=600)
job=""
interrupted=""

# Only apt itself gets the signal: it stops downloading but does not leave dpkg halfway.
stop() {
  interrupted=yes
  [ -z "$job" ] || kill -INT "$job" 2>/dev/null
}

run() { # COMMAND… -> its status; in a group of its own, as dpkg would die of a Ctrl-C
  local status=0
  set -m
  "$@" >&2 9>&- </dev/null &
  job=$!
  set +m
  while wait "$job" || status=$?; kill -0 "$job" 2>/dev/null; do status=0; done
  job=""
  return $status
}

lock() {
  mkdir -p "$RECORD"
  exec 9>"$RECORD/lock"
  flock -n 9 || { echo "waiting: another set-up is installing packages"; flock 9; }
}

installed() { dpkg-query -W -f '${db:Status-Status} ${Package}\n' 2>/dev/null | sed -n 's/^installed //p' | sort -u; }

clusters() { (cd "$ROOT/etc/postgresql" 2>/dev/null && ls -d -- */*) | sort; }

# Installing a server must not start it: we run our own, on our own ports. An admin's policy-rc.d is kept.
forbid_starts() { [ -e "$POLICY" ] || { printf '#!/bin/sh\n%s\nexit 101\n' "$MARK" >"$POLICY" && chmod 755 "$POLICY"; }; }

allow_starts() { ! grep -qxF "$MARK" "$POLICY" 2>/dev/null || rm -f "$POLICY"; }

units_of() { # PACKAGE… -> their units; not those of the base system, which must not be switched off
  local package
  for package in "$@"; do
    case $package in systemd* | dbus* | udev) continue ;; esac
    dpkg -L "$package" 2>/dev/null |
      sed -n 's#^\(/usr\)\?/lib/systemd/system/\([^/@]*\.\(service\|socket\|timer\|path\)\)$#\2#p'
  done
}

is_enabled() { # UNIT
  if command -v systemctl >/dev/null; then
    [ "$(systemctl is-enabled "$1" 2>/dev/null)" = enabled ]
  else
    deb-systemd-helper debian-installed "$1" && deb-systemd-helper was-enabled "$1"
  fi
}

is_running() { [ -d /run/systemd/system ] && systemctl --quiet is-active "$1"; }

switch_off() { # UNIT
  is_enabled "$1" || return 0
  if command -v systemctl >/dev/null; then
    systemctl --quiet disable "$1"
    [ ! -d /run/systemd/system ] || systemctl --quiet stop "$1"
  else
    deb-systemd-helper disable "$1"
    [ ! -e "$ROOT/etc/init.d/${1%.service}" ] || update-rc.d "${1%.service}" disable
  fi
}

# What was planned and is now installed is ours: switched off, recorded, and marked as automatic in apt.
settle() {
  local new unit
  if [ -e "$RECORD/planned" ]; then
    forbid_starts
    [ -z "$(dpkg --audit 2>/dev/null)" ] ||
      run env DEBIAN_FRONTEND=noninteractive dpkg --force-confdef --force-confold --configure -a
    new=$(installed | comm -12 "$RECORD/planned" -)
    # shellcheck disable=SC2086 # the list is meant to be split
    for unit in $(units_of $new); do switch_off "$unit"; done
    { cat "$RECORD/packages" 2>/dev/null; echo "$new"; } | sed '/^$/d' | sort -u >"$RECORD/packages.new"
    mv "$RECORD/packages.new" "$RECORD/packages"
    # shellcheck disable=SC2086
    [ -z "$new" ] || apt-mark auto $new
  fi
  allow_starts
  rm -f "$RECORD/planned"
}

install() { # PACKAGE…
  local status=0 before cluster
  "${APT[@]}" -o DPkg::Lock::Timeout=0 check 2>&1 | grep -q 'Could not get lock' &&
    echo "waiting: another program is installing packages"
  run "${APT[@]}" update || echo "apt-get update failed; going on with the present lists" >&2
  [ -z "$interrupted" ] || return 130
  before=$(clusters)
  "${APT[@]}" -s --no-install-recommends install "$@" | sed -n 's/^Inst \([^ :]*\)[^ ]* (.*/\1/p' |
    sort -u >"$RECORD/planned.new"
  mv "$RECORD/planned.new" "$RECORD/planned"
  forbid_starts
  run "${APT[@]}" --no-install-recommends install "$@" || status=$?
  # A database cluster that its package created was never used.
  for cluster in $(comm -13 <(echo "$before") <(clusters)); do
    pg_dropcluster "${cluster%/*}" "${cluster#*/}" >&2
  done
  settle >&2
  return $status
}

in_use() { # PACKAGE -> whether a unit of it was enabled or started since
  local unit
  for unit in $(units_of "$1"); do
    if is_enabled "$unit" || is_running "$unit"; then return 0; fi
  done
  return 1
}

also_removed() { # PACKAGE… -> what apt would remove with them beyond what is going
  "${APT[@]}" -s remove "$@" 2>/dev/null | sed -n 's/^Remv \([^ :]*\).*/\1/p' | sort -u |
    comm -23 - <(printf '%s\n' "${going[@]}" | sort)
}

remove() {
  local package going=() kept=() purged=() rest
  # Not what is already removed, nor what an admin has installed since: apt marks that as "manual".
  for package in $(installed | comm -12 "$RECORD/packages" - | comm -12 - <(apt-mark showauto | sort -u)); do
    if in_use "$package"; then kept+=("$package"); else going+=("$package"); fi
  done
  while [ ${#going[@]} -gt 0 ] && [ -n "$(also_removed "${going[@]}")" ]; do
    rest=()
    for package in "${going[@]}"; do
      if [ -z "$(also_removed "$package")" ]; then rest+=("$package"); else kept+=("$package"); fi
    done
    going=("${rest[@]}")
  done
  # Purging a database server may delete databases, which may be in use by now.
  for package in "${going[@]}"; do
    case $package in mariadb-server* | mysql-server* | postgresql-[0-9]*) ;; *) purged+=("$package") ;; esac
  done
  [ ${#going[@]} -eq 0 ] || run "${APT[@]}" remove "${going[@]}" || return
  [ ${#purged[@]} -eq 0 ] || run "${APT[@]}" purge "${purged[@]}" || return
  echo "Debian packages removed: ${#going[@]}${kept[*]:+; kept, because they are in use by now: ${kept[*]}}"
  rm -rf "$RECORD"
}

trap stop INT TERM HUP
lock
settle >&2
case ${1:-} in
  "") ;;
  --remove) if [ -s "$RECORD/packages" ]; then remove; else rm -rf "$RECORD"; fi ;;
  *) install "$@" ;;
esac
