#!/usr/bin/env bash
# Prints, as the only line on stdout, a directory holding kubelet,
# kube-controller-manager and kube-scheduler of the version that ensure.sh has:
# what a node needs besides the control plane. They are built from the Go module
# proxy once for each user, in some six minutes on two cores.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
go=${GO:-go}
export GOWORK=off
programs=(kubelet kube-controller-manager kube-scheduler)

version=$(awk '$1 == "k8s.io/kubernetes" && NF >= 2 { print $2; exit }' "$here/go.mod")
minor=${version#v1.}
kept=${XDG_CACHE_HOME:-$HOME/.cache}/devicetwin-operator/node/${version#v}-$("$go" env GOHOSTOS)-$("$go" env GOHOSTARCH)
ldflags="-s -w"
for package in k8s.io/component-base/version k8s.io/client-go/pkg/version; do
  ldflags+=" -X $package.gitVersion=$version -X $package.gitMajor=1 -X $package.gitMinor=${minor%%.*}"
done

mkdir -p "$kept"
for program in "${programs[@]}"; do
  if [[ -x $kept/$program ]]; then continue; fi
  echo "node: building $program $version" >&2
  (cd "$here" && "$go" build -trimpath -buildvcs=false -ldflags "$ldflags" -o "$kept/.$program" "k8s.io/kubernetes/cmd/$program")
  mv "$kept/.$program" "$kept/$program" # whole or not at all
done
echo "$kept"
