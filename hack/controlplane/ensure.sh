#!/usr/bin/env bash
# Prints, as the only line on stdout, a directory holding kube-apiserver, etcd
# and kubectl: the real control plane that the tests and the demo run against.
#
#   ensure.sh            find them; download or build them when they are missing
#   ensure.sh --cached   find them only; exit status 3 when they are missing
#
# Looked for in this order:
#   1. $KUBEBUILDER_ASSETS, when it holds all three;
#   2. the user's cache, keyed by version, so that a fresh clone builds nothing;
#   3. setup-envtest's download, where the network allows it;
#   4. a build from the Go module proxy, at the versions in this folder's go.mod.
#
# ENSURE_NO_DOWNLOAD=1 skips the third. Everything but the answer goes to stderr.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
source "$here/build.sh"
holds_all() { [[ -x $1/kube-apiserver && -x $1/etcd && -x $1/kubectl ]]; }

etcd=$(version_of go.etcd.io/etcd/server/v3)
root=$cache_home/devicetwin-operator/controlplane
built=$root/${k8s#v}-${etcd#v}-$platform
downloads=$root/setup-envtest

# find_cached prints the directory of the pinned build, or of a download.
find_cached() {
  local dir
  for dir in "$built" "$downloads/k8s/${minor#v}".*-"$platform"; do
    if holds_all "$dir"; then
      echo "$dir"
      return
    fi
  done
  return 1
}

# reachable fails fast where a firewall would make the download hang.
reachable() {
  command -v curl >/dev/null &&
    curl --silent --fail --location --head --connect-timeout 5 --max-time 15 --output /dev/null \
      https://raw.githubusercontent.com/kubernetes-sigs/controller-tools/HEAD/envtest-releases.yaml
}

# download never fails the script: whatever goes wrong, a build still works.
download() {
  if [[ -n ${ENSURE_NO_DOWNLOAD:-} ]] || ! reachable; then
    say "setup-envtest's download is not reachable from here"
    return 1
  fi
  local limit=()
  if command -v timeout >/dev/null; then limit=(timeout 300); fi
  say "downloading Kubernetes ${minor#v} with setup-envtest"
  if ! ${limit[@]+"${limit[@]}"} "$go" tool -modfile="$here/../tools/go.mod" setup-envtest \
    use "${minor#v}.x" --bin-dir "$downloads" --print path >/dev/null; then
    say "setup-envtest's download failed"
    return 1
  fi
  find_cached >/dev/null
}

build() {
  local started=$SECONDS
  say "building Kubernetes $k8s and etcd $etcd from the Go module proxy, once for this user: about 6 minutes on two cores"
  if [[ -n ${locked:-} ]]; then rm -rf "$root"/.build-*; fi # left by one that was killed
  staging=$(mktemp -d "$root/.build-XXXXXX")
  trap 'rm -rf "$staging"' EXIT
  compile ./etcd "$staging/etcd"
  compile k8s.io/kubernetes/cmd/kube-apiserver "$staging/kube-apiserver"
  compile k8s.io/kubernetes/cmd/kubectl "$staging/kubectl"
  chmod 755 "$staging"
  rm -rf "$built" # an incomplete one, or find_cached would have answered
  mv "$staging" "$built"
  say "built all three in $((SECONDS - started)) s, kept in $built"
}

if [[ -n ${KUBEBUILDER_ASSETS:-} ]]; then
  if holds_all "$KUBEBUILDER_ASSETS"; then
    (cd "$KUBEBUILDER_ASSETS" && pwd)
    exit
  fi
  say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS does not hold kube-apiserver, etcd and kubectl: looking elsewhere"
fi
if find_cached; then exit; fi
if [[ ${1:-} == --cached ]]; then
  say "kube-apiserver, etcd and kubectl are not there yet: run 'make controlplane'"
  exit 3
fi

mkdir -p "$root"
# One build at a time for this user. Without flock (util-linux) two may run at
# once: each in a folder of its own, and the last rename wins.
if command -v flock >/dev/null; then
  exec 9>"$root/.lock"
  if ! flock --nonblock 9; then
    say "another process is fetching or building them: waiting for it"
    flock 9
  fi
  locked=yes
fi
if find_cached; then exit; fi
if ! download; then build; fi
find_cached
