#!/usr/bin/env bash
# Prints, as the only line on stdout, a directory holding kubelet, kube-proxy,
# kube-controller-manager and kube-scheduler of the version that ensure.sh has:
# what a node needs besides the control plane. They are built from the Go module
# proxy once for each user, in some six minutes on two cores.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/build.sh"
kept=$cache_home/devicetwin-operator/node/${k8s#v}-$platform
mkdir -p "$kept"
for program in kubelet kube-controller-manager kube-scheduler kube-proxy; do
  if [[ -x $kept/$program ]]; then continue; fi
  compile "k8s.io/kubernetes/cmd/$program" "$kept/.$program"
  mv "$kept/.$program" "$kept/$program" # whole or not at all
done
echo "$kept"
