#!/usr/bin/env bash
# Writes the archives of the kubectl plugin, one for each platform, and the
# manifest by which krew installs them. What comes out depends on the commit
# alone.
#
#   hack/plugin.sh DIR VERSION PLATFORM...     hack/plugin.sh dist/release 0.1.0 linux/amd64 darwin/arm64
set -euo pipefail

out=$(mkdir -p "$1" && cd "$1" && pwd) version=$2
shift 2
cd "$(dirname "${BASH_SOURCE[0]}")/.."
: "${SOURCE_DATE_EPOCH:?the time that the files in the archives bear}"
source=https://github.com/devicetwin-io/devicetwin-operator
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

manifest=$out/krew-twin.yaml
cat >"$manifest" <<MANIFEST
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: twin
spec:
  version: v$version
  homepage: $source
  shortDescription: Look at Azure IoT Hub device twins
  description: |
    Shows device twins that the DeviceTwin operator keeps as declared, on the
    hub and on the device; sums up fleets; suspends, resumes and reconciles;
    checks manifests without a cluster; finds out what is wrong.
  platforms:
MANIFEST

for platform in "$@"; do
  os=${platform%/*} arch=${platform#*/}
  folder=$scratch/$os-$arch program=kubectl-twin
  if [[ $os == windows ]]; then program+=.exe; fi
  mkdir "$folder"
  GOOS=$os GOARCH=$arch make --no-print-directory build PROGRAMS=kubectl-twin BUILDFLAGS=-buildvcs=auto BIN="$folder" >/dev/null
  cp LICENSE cmd/kubectl-twin/kubectl_complete-twin "$folder"
  chmod 0755 "$folder/$program" "$folder/kubectl_complete-twin"
  chmod 0644 "$folder/LICENSE"
  archive=kubectl-twin_${version}_${os}_$arch.tar.gz
  tar --create --directory="$folder" --sort=name --mtime="@$SOURCE_DATE_EPOCH" --owner=0 --group=0 --numeric-owner \
    LICENSE kubectl_complete-twin "$program" | gzip --no-name >"$out/$archive"
  sum=$(sha256sum "$out/$archive")
  cat >>"$manifest" <<MANIFEST
  - selector:
      matchLabels: {os: $os, arch: $arch}
    uri: $source/releases/download/v$version/$archive
    sha256: ${sum%% *}
    bin: $program
MANIFEST
  rm -r "$folder"
done
