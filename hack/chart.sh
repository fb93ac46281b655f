#!/usr/bin/env bash
# Brings the Helm chart's generated parts in step with their sources: custom
# resource definitions, alerts, dashboard, roles, policies and webhooks from config, the version from
# VERSION, and README.md from values.yaml and README.md.gotmpl.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
chart=charts/devicetwin-operator

rm -rf "$chart"/files/{approval,crds,monitoring,policy,rbac,webhook}
mkdir -p "$chart"/files/{approval,crds,monitoring,policy,rbac,webhook}
cp config/crd/bases/*.yaml "$chart/files/crds/"
cp config/monitoring/{rules.yaml,dashboard.json} "$chart/files/monitoring/"
cp config/policy/policy.yaml "$chart/files/policy/"
cp config/approval/{approver-role,policy}.yaml "$chart/files/approval/"
cp config/rbac/*.yaml "$chart/files/rbac/"
rm "$chart"/files/rbac/{kustomization,service-account}.yaml # the chart has its own account
cp config/webhook/manifests.yaml "$chart/files/webhook/"

version=$(<VERSION)
sed -i -E \
  -e "s/^(version|appVersion): .*/\1: $version/" \
  -e "s|(image: ghcr.io/[^:]+):.*|\1:$version|" "$chart/Chart.yaml"

"$go" tool -modfile=hack/tools/helm/go.mod helm-docs --chart-search-root="$chart" --sort-values-order=file --log-level=warning
