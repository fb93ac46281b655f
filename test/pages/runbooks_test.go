package pages_test

import (
	"strings"
	"testing"
)

// inTrouble are the blocks of the runbooks, each where there is something to see.
func inTrouble(p *plant) []step {
	of := func(name string) string { return "docs/runbooks/DeviceTwin" + name + ".md" }
	name := namespace
	namespace := replaced{"-n NAMESPACE", "-n " + name}
	hub := []replaced{namespace, {"hubconnection NAME", "hubconnection factory"}}
	return []step{
		{page: of("BudgetNearlyUsed"), has: "effectiveInterval", instead: hub, before: script(selected), prints: "redmond43"},
		{page: of("DriftStorm"), has: "DriftCorrected", before: p.drift, prints: "tags.owner"},
		{page: of("EditsSlow"), has: "backlog", instead: hub, prints: "factory"},
		{
			page: of("GuardTripped"), has: "status.plan", before: script(guarded("redmond-press-3")), prints: "production",
			instead: append(hub, replaced{"-n TWINS get devicetwin TWIN", namespace.run + " get devicetwin redmond-press-3"}),
		},
		{
			page: of("GuardTripped"), has: "guardReset", instead: hub, prints: "hubconnection.iothub.devicetwin.io/factory annotated",
			after: script("kubectl wait --for=condition=Ready --timeout=60s devicetwin/redmond-press-3\n"),
		},
		{
			page: of("HubConnectionNotReady"), has: "describe", prints: "SecretNotFound",
			instead: []replaced{{"-n NAMESPACE", "-n plant"}, {"hubconnection NAME", "hubconnection elsewhere"}},
		},
		{page: of("HubCredentialRefused"), has: "spec.auth", instead: hub, prints: "connectionStringSecretRef"},
		{page: of("HubCredentialRefused"), has: "az iot hub policy", instead: []replaced{namespace, {"SECRET", "factory-hub"}}},
		{page: of("HubUnreachable"), has: "describe", instead: hub, prints: "Succeeded"},
		{page: of("HubUnreachable"), has: "kubectl run", cannot: "a Pod takes a kubelet, and its image the internet"},
		{page: of("LeftBehind"), has: "LeftBehind", before: p.leaveBehind, prints: "left behind on the hub"},
		{page: of("MembershipsDisagree"), has: "az iot hub query", prints: "redmond-press-2   redmond43"},
		{page: of("NoLeader"), has: "leases", prints: "lease.coordination.k8s.io/devicetwin-operator"},
		{page: of("NotAcknowledged"), has: "Acknowledged", before: p.refuse, prints: "not below 60"},
		{page: of("ReadBackStale"), has: "readBackAsOf", instead: hub, before: p.failToRead, prints: `"logger":"readback"`},
		{
			page: of("RolloutFailed"), has: "twin rollout", before: script(tooManyDevices), prints: "TooManyDevices",
			instead: []replaced{{"rollout NAME -n NAMESPACE", "rollout too-many -n " + name + " || true"}}, // it exits with 1
		},
		{
			page: of("ReconcileStuck"), has: "top pods", prints: "readyz check passed",
			instead: []replaced{{"kubectl -n devicetwin-system top pods", "true"}}, // nothing measures Pods here
		},
		{page: of("Throttled"), has: "az monitor", instead: hub, prints: `"sku":"S3"`},
		{page: of("TwinsNotReady"), has: "REASON", instead: []replaced{{"grep REASON", "grep HubNotReady"}}, prints: "elsewhere"},
	}
}

// tooManyDevices is a set that selects more than it is meant to.
var tooManyDevices = applied(`apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwinSet
metadata: {name: too-many}
spec:
  hubRef: {name: factory}
  selector: {where: "deviceId != ''"}
  maxDevices: 1
  template: {tags: {ring: stable}}
`) + "kubectl wait --for=condition=Stalled --timeout=60s devicetwinset/too-many\n"

// selected names some of the fleet.
var selected = applied(`apiVersion: iothub.devicetwin.io/v1alpha1
kind: TwinQuery
metadata: {name: redmond43}
spec: {hubRef: {name: factory}, where: tags.location.plant = 'Redmond43', interval: 10s}
`) + "kubectl wait --for=condition=Ready --timeout=60s twinquery/redmond43\n"

// guarded changes a twin when others were changed within the hour, and the guard lets through no more. One that is
// contended would count when its time comes.
func guarded(device string) string {
	return strings.ReplaceAll(`kubectl twin suspend redmond-press-1
kubectl patch hubconnection factory --type merge -p '{"spec":{"guard":{"maxChangesPerHour":1}}}'
kubectl wait --for=condition=Ready --timeout=60s hubconnection/factory
kubectl patch devicetwin DEVICE --type merge -p '{"spec":{"tags":{"owner":"production"}}}'
kubectl wait --for=jsonpath='{.status.guard.trippedAt}' --timeout=60s hubconnection/factory
kubectl wait --for=jsonpath='{.status.plan}' --timeout=60s devicetwin/DEVICE
`, "DEVICE", device)
}

// leaveBehind takes the way to the hub away before what was written over it.
func (p *plant) leaveBehind(*testing.T) string {
	return applied(`apiVersion: iothub.devicetwin.io/v1alpha1
kind: HubConnection
metadata: {name: closed}
spec: {auth: {connectionStringSecretRef: {name: factory-hub}}}
---
apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata: {name: retired}
spec: {hubRef: {name: closed}, deviceId: retired, deletionPolicy: Clear, tags: {owner: quality}}
`) + "kubectl patch hubconnection closed --type merge -p '" + p.toTheHub() + `'
kubectl wait --for=condition=Ready --timeout=60s devicetwin/retired
kubectl delete hubconnection closed
kubectl delete devicetwin retired
`
}
