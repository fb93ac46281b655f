package pages_test

import "testing"

// plugin is generated from the help of the commands: a block that is wrong is mended there.
const plugin = "docs/kubectl-twin.md"

// looking are the plugin's examples that change nothing, for a fleet that is in step.
func looking(p *plant) []step {
	return []step{
		rolledOut(),
		{page: plugin, has: "kubectl twin status", before: script("kubectl label devicetwin redmond-press-2 line=7\n"), prints: "5 in all, 5 ready"},
		{
			page: plugin, has: "kubectl twin get thermostat-1 --watch", prints: "desired.telemetry.interval",
			before: func(t *testing.T) string {
				t.Helper()
				return p.reports(t, `{"telemetry":{"interval":30}}`, "True")
			},
			instead: []replaced{{"--watch", ""}}, // it does not end
		},
		{page: plugin, has: "kubectl twin diff -f thermostat-1.yaml", before: script(manifests)},
		{page: plugin, has: "kubectl twin query", prints: "redmond-press-1"},
		{page: plugin, has: "kubectl twin lint", prints: "0 errors"},
		{page: plugin, has: "kubectl twin reconcile", prints: "devicetwin/thermostat-1 of " + namespace + " asked to be reconciled"},
		{page: plugin, has: "kubectl twin version", prints: "kubectl-twin "},
		{page: plugin, has: "completion bash"},
		{page: plugin, has: "kubectl twin report", prints: "report.tar.gz"},
		{
			page: plugin, has: "kubectl twin doctor", prints: "there is no Deployment of it in namespace iot-system",
			instead: []replaced{{"iot-system", "iot-system || [ $? = 1 ]"}}, // other pages leave hubs that do not work
		},
	}
}

// manifests are files as the examples name them.
const manifests = `kubectl get devicetwin thermostat-1 -o yaml >thermostat-1.yaml
mkdir -p overlays/line-7 fleet
cp thermostat-1.yaml overlays/line-7
cp thermostat-1.yaml fleet
echo 'resources: [thermostat-1.yaml]' >overlays/line-7/kustomization.yaml
`

// changing are the plugin's examples that change the cluster.
func changing() []step {
	return []step{
		{page: plugin, has: "kubectl twin approve", before: script(guard(1000) + lineSeven("two", canary) + awaited + guarded("redmond-press-2")), prints: "hubconnection/factory of " + namespace + " approved",
			after: script(guard(1000) + completed)},
		{page: plugin, has: "kubectl twin suspend", prints: "devicetwin/redmond-press-4 of " + namespace + " suspended"},
		{page: plugin, has: "kubectl twin resume", prints: "devicetwin/thermostat-1 of " + namespace + " resumed"},
		{page: plugin, has: "kubectl twin import", before: script("kubectl twin resume --hub factory\n"), prints: "devicetwin.iothub.devicetwin.io/redmond-press-4 configured"},
		{page: plugin, has: "kubectl twin adopt", prints: "devicetwin/redmond-press-4 of " + namespace + " adopted"},
		{page: plugin, has: "kubectl twin release", prints: "devicetwin/thermostat-1 of " + namespace + " released"},
	}
}
