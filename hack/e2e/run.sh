#!/usr/bin/env bash
# Runs the operator's images in Pods of a real node, installed by its Helm chart,
# and tells the device twin story there. It needs root and, of Debian, containerd,
# runc and containernetworking-plugins; where something is missing it says so and
# ends with status 3. E2E_KEEP=1 leaves the logs.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

missing=()
((EUID == 0)) || missing+=("root")
for program in containerd ctr runc ip nsenter openssl sysctl; do command -v "$program" >/dev/null || missing+=("$program"); done
[[ -x /usr/lib/cni/loopback ]] || missing+=("/usr/lib/cni/loopback")
if ((${#missing[@]} > 0)); then
  echo "e2e: this machine lacks: ${missing[*]} (apt-get install containerd runc containernetworking-plugins)" >&2
  exit 3
fi

go=${GO:-go}
namespace=devicetwin-system
version=$(<VERSION)
control=$(hack/controlplane/ensure.sh)
node=$(hack/controlplane/node.sh)
helm_program=$("$go" tool -modfile=hack/tools/helm/go.mod -n helm)
work=$(mktemp -d /tmp/devicetwin-e2e-XXXXXX)
source hack/e2e/node.sh
helm() { KUBECONFIG="$work/pki/admin.kubeconfig" inside "$helm_program" "$@"; }

finish() {
  local status=$?
  if ((status != 0)); then kubectl get pods,events -A >"$work/cluster.log" 2>&1 || true; fi
  node_down
  if ((status == 0)) && [[ -z ${E2E_KEEP:-} ]]; then rm -rf "$work"; else echo "e2e: logs are in $work" >&2; fi
}
trap finish EXIT

started=$SECONDS
say() { printf '%4d s  %s\n' $((SECONDS - started)) "$*"; }

# shows WHAT JSONPATH WANTED: an object comes to show something.
shows() {
  await "$1 shows $3" 60 bash -c '[[ "$(nsenter --net="$1" "$2" --kubeconfig "$3" -n "$4" get "$5" -o "jsonpath=$6")" == "$7" ]]' _ \
    "/run/netns/$netns" "$control/kubectl" "$work/pki/admin.kubeconfig" "$namespace" "$1" "$2" "$3"
}

CGO_ENABLED=0 "$go" build -trimpath -ldflags "-s -w" -o "$work/pause" ./hack/e2e/pause
"$go" run -C hack/images ./sandbox "$work/pause" localhost/pause:e2e "$work/pause.tar"
node_up
say "the node is Ready: $(kubectl version -o json | sed -n 's/.*"gitVersion": "\(.*\)".*/\1/p' | tail -1)"
ctr images import "$work/pause.tar" >/dev/null
for image in devicetwin-operator devicesim hubemulator; do
  ctr images import "dist/images/$image-$version-linux-$("$go" env GOHOSTARCH).tar" >/dev/null
done
say "the images are loaded"

installed=$SECONDS
helm install devicetwin-operator charts/devicetwin-operator -n "$namespace" --create-namespace -f hack/e2e/node/values.yaml >/dev/null
kubectl -n "$namespace" rollout status deployment devicetwin-operator-manager --timeout=60s >/dev/null
say "the chart is installed: manager, simulated device beside it, emulated hub"
kubectl apply -f - >/dev/null <<EOF
apiVersion: iothub.devicetwin.io/v1alpha1
kind: HubConnection
metadata: {name: hub, namespace: $namespace}
spec:
  auth:
    connectionStringSecretRef: {name: devicetwin-operator-emulator-hub}
  readBack: {interval: 5s} # what the device reports is waited for
  caBundle: $(kubectl -n "$namespace" get secret devicetwin-operator-emulator-hub -o jsonpath='{.data.ca\.crt}')
EOF
kubectl apply -n "$namespace" -f - >/dev/null <<'EOF'
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: thermostat-1}
spec:
  hubRef: {name: hub}
  deviceId: thermostat-1
  tags: {location: {region: US, plant: Redmond43}}
  desired: {power_level: 1}
---
apiVersion: iothub.devicetwin.io/v1alpha1
kind: TwinQuery
metadata: {name: redmond43-cellular}
spec:
  hubRef: {name: hub}
  interval: 5s
  where: tags.location.plant = 'Redmond43' AND properties.reported.connectivity = 'cellular'
EOF
kubectl -n "$namespace" wait devicetwin/thermostat-1 --for=condition=Ready --timeout=60s >/dev/null
say "the DeviceTwin is Ready, $((SECONDS - installed)) s after helm install"
shows devicetwin/thermostat-1 '{.status.reported.connectivity}' cellular
shows devicetwin/thermostat-1 '{.status.memberships[*]}' redmond43-cellular
say "the device has reported, and the query selects it"

if refusal=$(kubectl apply -n "$namespace" -f - 2>&1 <<'EOF'
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: bad}
spec: {hubRef: {name: hub}, deviceId: thermostat-2, tags: {"a.b": 1}}
EOF
); then
  echo "e2e: a key that no hub takes was not refused" >&2
  exit 1
fi
[[ $refusal == *'spec.tags["a.b"]'* ]] || { echo "e2e: refused for another reason: $refusal" >&2; exit 1; }
say "the webhook refuses a key that no hub takes"

kubectl -n "$namespace" delete pod -l app.kubernetes.io/component=manager --wait >/dev/null
kubectl -n "$namespace" patch devicetwin thermostat-1 --type merge -p '{"spec":{"desired":{"power_level":7}}}' >/dev/null
shows devicetwin/thermostat-1 '{.status.observedGeneration}' 2
kubectl -n "$namespace" wait devicetwin/thermostat-1 --for=condition=Acknowledged --timeout=60s >/dev/null
say "the manager's Pod was deleted; an edit meanwhile has reached the device"

helm uninstall devicetwin-operator -n "$namespace" --wait >/dev/null 2>&1
kubectl -n "$namespace" get devicetwin thermostat-1 >/dev/null
say "the chart is uninstalled; definitions and objects are there still"
echo "e2e: ok in $((SECONDS - started)) s"
