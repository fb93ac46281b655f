#!/usr/bin/env bash
# Writes what a release has besides the images: the flat manifests, the custom
# resource definitions and the chart's package. What comes out depends on the
# commit alone.
#
#   hack/release.sh DIR REGISTRY VERSION
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
out=$1 registry=$2 version=$3
: "${SOURCE_DATE_EPOCH:?the time that the package of the chart bears}"
mkdir -p "$out"

# kustomize resolves folders relative to the one that names them.
overlay=$(mktemp -d "$PWD/.release.XXXXXX")
trap 'rm -rf "$overlay"' EXIT

# manifests COMPONENT...: config/default with the released image.
manifests() {
  {
    printf 'apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [../config/default]\n'
    printf 'images: [{name: devicetwin-operator, newName: %s/devicetwin-operator, newTag: %s}]\n' "$registry" "$version"
    if (($# > 0)); then printf 'components: [%s]\n' "$@"; fi
  } >"$overlay/kustomization.yaml"
  kustomize "$overlay"
}

kustomize() { "$go" tool -modfile=hack/tools/go.mod kustomize build "$1"; }

manifests ../config/components/without-webhook >"$out/install.yaml"
manifests >"$out/install-with-webhook.yaml"
kustomize config/crd >"$out/crds.yaml"
"$go" tool -modfile=hack/tools/helm/go.mod helm package --destination "$out" charts/devicetwin-operator >/dev/null
