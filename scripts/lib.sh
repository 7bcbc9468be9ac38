# shellcheck shell=bash
# What the scripts share: folders, words to the user, root when it is needed. Sourced, never run.
# shellcheck disable=SC2034 # the sourcing script uses what is set here

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
# Everything kept between runs lives here; `scripts/uninstall` empties it.
STATE=${POUW_STATE:-${XDG_STATE_HOME:-${HOME:?}/.local/state}/pouw}
TOOLS=$STATE/tools
export POUW_STATE=$STATE
export PATH=$TOOLS/bin:$PATH:/usr/sbin:/sbin
[ -d "${CARGO_HOME:-$HOME/.cargo}/bin" ] && PATH=${CARGO_HOME:-$HOME/.cargo}/bin:$PATH

# Proxies pass through; what talks to this machine itself never uses one.
export no_proxy="127.0.0.1,localhost,::1${no_proxy:+,$no_proxy}"
export NO_PROXY=$no_proxy
PROXIES=http_proxy,https_proxy,HTTP_PROXY,HTTPS_PROXY,no_proxy,NO_PROXY

say() { printf '%s\n' "$*" >&2; }
die() {
  say "error: $*"
  exit 1
}

# Prints the comment at the head of the calling script, its usage.
usage() { sed -n '2,/^[^#]/{s/^# \{0,1\}//p;}' "$0"; }

has() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"; else sudo --preserve-env="$PROXIES" -- "$@"; fi
}

installed() { [ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]; }

# One at a time: two setups, builds or engine starts must not meet. Usage: one_at_a_time NAME
one_at_a_time() {
  mkdir -p "$STATE"
  exec 9>"$STATE/$1.lock"
  flock -n 9 || {
    say "waiting for another $1 run to end"
    flock 9
  }
}

# Is PID ($1) alive and running PROGRAM ($2)? A pidfile may outlive its process.
runs() { [ -n "$1" ] && [ "$(cat "/proc/$1/comm" 2>/dev/null)" = "$2" ]; }

gone() { ! runs "$@"; }

# Waits for a command to succeed. Usage: wait_for SECONDS COMMAND…
wait_for() {
  local deadline=$((SECONDS + $1))
  shift
  until "$@" >/dev/null 2>&1; do
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 0.1
  done
}

# A free TCP port on loopback, as the kernel gives it.
free_port() {
  python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}

port_open() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Seconds as people read them.
elapsed() { printf '%d min %02d s' $(($1 / 60)) $(($1 % 60)); }
