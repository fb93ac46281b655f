#!/usr/bin/env bash
# Prints, as the only line on stdout, a directory that holds prometheus and promtool, which the tests
# of alerts and dashboard run. Looked for in this order:
#   1. $PROMETHEUS_DIR, when it holds both;
#   2. PATH;
#   3. the user's cache;
#   4. Debian's package, taken apart into that cache: nothing is installed and no service started.
# Without any it says what is missing, and ends with status 3.
set -euo pipefail

holds_both() { [[ -x $1/prometheus && -x $1/promtool ]]; }
say() { echo "prometheus: $*" >&2; }

cache=${XDG_CACHE_HOME:-$HOME/.cache}/devicetwin-operator/prometheus

# unpack takes the package apart. Root refreshes the lists of packages where they are old or missing.
unpack() {
  local scratch
  command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || return 1
  mkdir -p "$cache"
  scratch=$(mktemp -d "$cache/.unpack-XXXXXX")
  if ! (cd "$scratch" && fetch); then
    rm -rf "$scratch"
    return 1
  fi
  dpkg-deb --extract "$scratch"/prometheus_*.deb "$scratch/root"
  rm -rf "$cache/bin"
  mv "$scratch/root/usr/bin" "$cache/bin"
  rm -rf "$scratch"
  holds_both "$cache/bin"
}

# fetch does not leave it to apt's own user to write here: a cache in root's home is closed to that one.
fetch() {
  if apt-get -qq -o APT::Sandbox::User=root download prometheus >&2; then return; fi
  ((EUID == 0)) && apt-get -qq update >&2 && apt-get -qq -o APT::Sandbox::User=root download prometheus >&2
}

if [[ -n ${PROMETHEUS_DIR:-} ]] && holds_both "$PROMETHEUS_DIR"; then
  (cd "$PROMETHEUS_DIR" && pwd)
  exit
fi
if on_path=$(command -v prometheus) && command -v promtool >/dev/null && holds_both "$(dirname "$on_path")"; then
  dirname "$on_path"
  exit
fi
if holds_both "$cache/bin"; then
  echo "$cache/bin"
  exit
fi
mkdir -p "$cache"
if command -v flock >/dev/null; then # tests of several packages may ask at once
  exec 9>"$cache/.lock"
  flock 9
fi
if holds_both "$cache/bin" || unpack; then
  echo "$cache/bin"
  exit
fi
say "neither prometheus nor promtool is on this machine: install Debian's package prometheus, or set PROMETHEUS_DIR to a folder that holds both"
exit 3
