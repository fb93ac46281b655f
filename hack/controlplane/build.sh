#!/usr/bin/env bash
# How Kubernetes' programs are built here from the Go module proxy, and where they are
# kept. To be sourced, with here set to this folder.

go=${GO:-go}
export GOWORK=off CGO_ENABLED=0 # without cgo all of them share one build cache

say() { echo "controlplane: $*" >&2; }
version_of() { awk -v module="$1" '$1 == module && NF >= 2 { print $2; exit }' "$here/go.mod"; }

k8s=$(version_of k8s.io/kubernetes)
minor=${k8s%.*} # v1.37
platform=$("$go" env GOHOSTOS)-$("$go" env GOHOSTARCH)
cache_home=${XDG_CACHE_HOME:-${HOME:+$HOME/.cache}}
if [[ -z $cache_home ]]; then
  say "set HOME or XDG_CACHE_HOME: there is nowhere to keep the binaries"
  exit 1
fi

# compile PACKAGE FILE: builds one program; SECONDS is bash's own clock.
compile() {
  local package=$1 file=$2 started=$SECONDS
  local ldflags="-s -w" pkg
  for pkg in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
    ldflags+=" -X $pkg.gitVersion=$k8s -X $pkg.gitTreeState=clean"
    ldflags+=" -X $pkg.gitMajor=1 -X $pkg.gitMinor=${minor#v1.}"
  done
  (cd "$here" && "$go" build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$file" "$package")
  say "built ${package##*/} in $((SECONDS - started)) s"
}
