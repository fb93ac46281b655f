#!/usr/bin/env bash
# Checks what a machine can check without running anything: generated files
# are what the sources give, the code is formatted, every go.mod is tidy, and
# go vet has nothing to say. Every check runs; the exit status tells whether
# all of them held. It changes nothing.
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")/.."
go=${GO:-go}
generated=(api/v1alpha1/zz_generated.deepcopy.go config/crd/bases config/rbac/role.yaml
  config/webhook/manifests.yaml config/monitoring/prometheusrule.yaml docs/api-reference.md docs/kubectl-twin.md
  charts/devicetwin-operator/files/{crds,monitoring,rbac,webhook} charts/devicetwin-operator/README.md)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
failed=0

# check NAME ADVICE COMMAND...: COMMAND's output is shown only if it fails.
check() {
  local name=$1 advice=$2
  shift 2
  if "$@" >"$scratch/output" 2>&1; then
    echo "ok    $name"
    return
  fi
  failed=1
  echo "FAIL  $name: $advice"
  sed 's/^/      /' "$scratch/output"
}

# regenerated generates everything anew in a copy of the sources, so that this
# tree stays as it is and a file that no source gives any more is noticed.
regenerated() {
  local copy=$scratch/copy path status=0
  mkdir "$copy" || return 1
  git ls-files -z --cached --others --exclude-standard |
    while IFS= read -r -d '' path; do
      if [[ -e $path ]]; then printf '%s\0' "$path"; fi
    done | tar --create --null --files-from=- | tar --extract --directory="$copy" || return 1
  (cd "$copy" && rm -rf "${generated[@]}" && mkdir -p config/crd/bases docs) || return 1
  make --no-print-directory -C "$copy" generate manifests api-docs chart plugin-docs || return 1
  for path in "${generated[@]}"; do
    diff -ruN "$path" "$copy/$path" || status=1
  done
  return "$status"
}

options() { diff -u docs/options.md <(hack/options.sh); }

charts() {
  local name
  mkdir -p "$scratch/charts" && "$go" run -C hack/charts . --dir "$PWD/docs/benchmarks" --out "$scratch/charts" || return 1
  for name in docs/benchmarks/*.svg; do cmp "$name" "$scratch/charts/$(basename "$name")" || return 1; done
}

formatted() {
  local files
  files=$(gofmt -l .) || return 1
  if [[ -n $files ]]; then
    echo "$files"
    return 1
  fi
}

tidy() { (cd "$1" && "$go" mod tidy -diff); }

check "generated files" "run 'make generate manifests api-docs chart plugin-docs' and commit the result" regenerated
check "docs/options.md" "run 'make options' and commit the result" options
check "docs/benchmarks/*.svg" "run 'make charts' and commit the result" charts
check "formatting" "run 'make fmt'" formatted
for module in . hack/tools hack/tools/helm hack/controlplane hack/images hack/e2e/dns hack/charts; do
  check "go.mod in $module" "run 'go mod tidy' there" tidy "$module"
done
for module in . hack/images hack/e2e/dns hack/charts; do
  check "go vet in $module" "fix what it says" "$go" -C "$module" vet ./...
done
exit "$failed"
