#!/usr/bin/env bash
# Runs the operator's images in Pods of a real node, installed by its Helm chart,
# and tells its story there (hack/e2e/story). It needs root and what
# prerequisites.sh names; where that is missing it says so and ends with status 3.
# The images of this version are in dist/images. E2E_PREVIOUS is the commit to
# upgrade from, HEAD~1 by default; E2E_KEEP=1 leaves the logs.
#
#   run.sh [--only trial|fleet] [--twins N]
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
hack/e2e/prerequisites.sh

go=${GO:-go}
version=$(<VERSION)
platform=linux/$("$go" env GOHOSTARCH)
previous=${E2E_PREVIOUS:-HEAD~1}
# What the story calls, too.
export work control node dns
control=$(hack/controlplane/ensure.sh)
node=$(hack/controlplane/node.sh)
work=$(mktemp -d /tmp/devicetwin-e2e-XXXXXX)
dns=$work/bin/dns
source hack/e2e/node.sh

finish() {
  local status=$?
  if ((status != 0)); then
    kubectl get pods,leases,events -A >"$work/cluster.log" 2>&1 || true
    kubectl get pods,hubconnections,devicetwins -A -o yaml >"$work/objects.yaml" 2>&1 || true
  fi
  node_down
  git worktree remove --force "$work/previous" 2>/dev/null || true
  if ((status == 0)) && [[ -z ${E2E_KEEP:-} ]]; then rm -rf "$work"; else echo "e2e: logs are in $work" >&2; fi
}
trap finish EXIT

started=$SECONDS
say() { printf '%4d s  %s\n' $((SECONDS - started)) "$*"; }

mkdir -p "$work/bin" "$work/images"
export CGO_ENABLED=0
"$go" build -trimpath -ldflags "-s -w" -o "$work/bin/pause" ./hack/e2e/pause
"$go" run -C hack/images ./sandbox "$work/bin/pause" localhost/pause:e2e "$work/images/pause.tar"
"$go" build -C hack/e2e/dns -trimpath -ldflags "-s -w" -o "$dns" .
"$go" build -trimpath -o "$work/bin/story" ./hack/e2e/story
if ! git rev-parse --quiet --verify "$previous^{commit}" >/dev/null; then
  echo "e2e: no commit $previous here to upgrade from (a shallow clone?): upgrading from HEAD" >&2
  previous=HEAD
fi
git worktree add --quiet --detach "$work/previous" "$previous"
make --no-print-directory -C "$work/previous" images PROGRAMS=manager PLATFORMS="$platform" VERSION=0.0.0-previous >"$work/previous.log"
cp "$work/previous/dist/images/devicetwin-operator-0.0.0-previous-${platform/\//-}.tar" "$work/images/"
for image in devicetwin-operator devicesim hubemulator; do cp "dist/images/$image-$version-${platform/\//-}.tar" "$work/images/"; done
say "built: the story, the cluster's DNS, and the manager of $(git rev-parse --short "$previous")"

node_up
say "the node is Ready: $(kubectl version -o json | sed -n 's/.*"gitVersion": "\(.*\)".*/\1/p' | tail -1)"
for image in "$work"/images/*.tar; do ctr images import --snapshotter "$snapshotter" "$image" >/dev/null; done
say "the images are loaded"

ln -s "$("$go" tool -modfile=hack/tools/helm/go.mod -n helm)" "$work/bin/helm"
ln -s "$control/kubectl" "$work/bin/kubectl"
export KUBECONFIG=$work/pki/admin.kubeconfig HELM_CACHE_HOME=$work/helm HELM_CONFIG_HOME=$work/helm HELM_DATA_HOME=$work/helm
PATH="$work/bin:$PATH" inside "$work/bin/story" --version "$version" \
  --previous-chart "$work/previous/charts/devicetwin-operator" --previous-version 0.0.0-previous "$@"
