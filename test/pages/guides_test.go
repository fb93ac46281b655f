package pages_test

import (
	"testing"

	. "github.com/onsi/gomega"
)

const (
	adopting        = "docs/adopting.md"
	azure           = "docs/azure.md"
	devicetwin      = "docs/spec/devicetwin.md"
	gitops          = "docs/gitops.md"
	hubconnection   = "docs/spec/hubconnection.md"
	monitoring      = "docs/monitoring.md"
	sharding        = "docs/sharding.md"
	troubleshooting = "docs/troubleshooting.md"
	twinrequest     = "docs/spec/twinrequest.md"
)

// overFlatManifests are the blocks about an installation without Helm.
func overFlatManifests() []step {
	return []step{
		{
			page: sharding, has: "scale deployment", prints: "hubconnection.iothub.devicetwin.io/elsewhere labeled",
			before: script("kubectl create namespace plant\n" + applied(hubWithoutSecret)),
			after:  script("kubectl -n devicetwin-system rollout status --timeout=60s deployment devicetwin-manager\n"),
		},
		{page: sharding, has: "sha256sum", prints: "d01d6134"},
		{
			page: monitoring, has: "clusterrolebinding", prints: "configmap/devicetwin-operator-dashboard serverside-applied",
			before: script(`kubectl create namespace monitoring
kubectl apply --server-side -f checkout/test/config/testdata/prometheus-operator/prometheusrules.yaml
kubectl wait --for=condition=Established --timeout=60s crd/prometheusrules.monitoring.coreos.com
`),
			after: script("kubectl auth can-i get /metrics --as system:serviceaccount:monitoring:prometheus-k8s\n"),
		},
	}
}

// hubWithoutSecret and its twin have something wrong that the runbooks find.
const hubWithoutSecret = `apiVersion: iothub.devicetwin.io/v1alpha1
kind: HubConnection
metadata: {name: elsewhere, namespace: plant}
spec: {auth: {connectionStringSecretRef: {name: missing}}}
---
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: press, namespace: plant}
spec: {hubRef: {name: elsewhere}, deviceId: press, tags: {line: 7}}
`

// adopted are the blocks by which a fleet comes under the operator.
func adopted(p *plant) []step {
	return []step{
		{page: adopting, has: "kubectl twin query", before: p.start, prints: "deviceId: redmond-press-4"},
		{page: gitops, has: "kubectl twin import", prints: "4 files written"},
		{page: adopting, has: "kubectl twin import", prints: "4 files written"},
		{page: adopting, has: "kubectl twin diff", prints: "0 of 4 DeviceTwins would write to the hub"},
		{
			page: adopting, has: "kubectl twin status", prints: "4 in all",
			after: script("kubectl wait --for=condition=Ready --timeout=60s devicetwins --all\n"),
		},
		{
			page: gitops, has: "--field-manager quality", prints: "devicetwin.iothub.devicetwin.io/thermostat-1 serverside-applied",
			before: func(t *testing.T) string {
				t.Helper()
				NewWithT(t).Expect(p.updates()).To(BeZero(), "of twins that were adopted")
				return partOfThermostat("location.yaml", "hubRef: {name: factory}, deviceId: thermostat-1, tags: {location: {floor: 2}}") +
					partOfThermostat("telemetry.yaml", "desired: {telemetry: {interval: 60}}")
			},
			after: script("kubectl wait --for=condition=Ready --timeout=60s devicetwin/thermostat-1\n"),
		},
	}
}

// partOfThermostat writes a manifest of some fields of a DeviceTwin.
func partOfThermostat(file, spec string) string {
	return "cat >" + file + " <<'EOF'\napiVersion: iothub.devicetwin.io/v1alpha1\nkind: DeviceTwin\nmetadata: {name: thermostat-1}\nspec: {" + spec + "}\nEOF\n"
}

// inStep are the blocks about a fleet that is kept.
func inStep() []step {
	return []step{
		{
			page: gitops, has: "--field-manager incident", prints: "devicetwin.iothub.devicetwin.io/redmond-press-1 patched",
			before: script("kubectl apply -k checkout/examples/gitops/plants/redmond\n"),
		},
		{page: gitops, has: "config/argocd", before: script("kubectl create namespace argocd\n"), prints: "configmap/argocd-cm serverside-applied"},
		{page: troubleshooting, has: "kubectl get hubconnections", prints: "redmond-press-4"},
		{page: troubleshooting, has: "changed the twin", prints: "thermostat-1"},
		{
			page: troubleshooting, has: "log-level", prints: `{"level":"debug"}`,
			instead: []replaced{ // there is no Pod to lead to
				{"kubectl -n devicetwin-system port-forward deployment/devicetwin-operator-manager 8443 &\n", ""},
				{"https://localhost:8443", "https://$MANAGER_METRICS"},
			},
		},
		{
			page: devicetwin, has: "reconcileAt", prints: "devicetwin.iothub.devicetwin.io/thermostat-1 annotated",
			after: script(`asked=$(kubectl get devicetwin thermostat-1 -o jsonpath='{.metadata.annotations.iothub\.devicetwin\.io/reconcileAt}')
kubectl wait --for=jsonpath='{.status.lastHandledReconcileAt}'="$asked" --timeout=60s devicetwin/thermostat-1
`),
		},
	}
}

// examples are the blocks around the examples of the kinds, in a namespace of their own.
func examples(p *plant) []step {
	return []step{
		{
			page: hubconnection, has: "create secret", prints: "secret/factory-hub created",
			before: script("kubectl create namespace examples\nkubectl config set-context --current --namespace examples\n"),
			after: func(t *testing.T) string {
				t.Helper()
				return p.connected(t, hubconnection, "hub")
			},
		},
		{
			page: hubconnection, has: "create serviceaccount", prints: "rolebinding.rbac.authorization.k8s.io/devicetwin-token created",
			after: script("kubectl auth can-i create serviceaccounts/twins --subresource=token --as system:serviceaccount:devicetwin-system:" + managerName + "\n"),
		},
		{page: hubconnection, has: "guardReset", prints: "hubconnection.iothub.devicetwin.io/hub annotated"},
		{
			page: twinrequest, has: "kubectl wait", prints: "deviceId: redmond-press-4",
			before: func(t *testing.T) string {
				t.Helper()
				return applied(blocksOf(t, twinrequest, "yaml")[0])
			},
		},
		{page: azure, has: "az iot hub policy", before: script("kubectl delete secret factory-hub\n"), prints: "secret/factory-hub created"},
		{page: azure, has: "az identity", cannot: "it is about Azure alone"},
	}
}
