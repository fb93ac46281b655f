package pages_test

import (
	"slices"
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// step is a block of commands, and what is to be done with it.
type step struct {
	page string
	// has is text that no other block of the page has.
	has string
	// cannot is why the block is not run here; empty runs it.
	cannot string
	// before returns commands that bring the cluster to where the page starts from.
	before func(*testing.T) string
	// instead is what is run in place of commands that cannot be.
	instead []replaced
	// prints is part of what the block prints.
	prints string
	// after returns commands that fail unless the block did what the page says of it.
	after func(*testing.T) string
}

// replaced is a part of a block that cannot run here, and what is run for it.
type replaced struct{ of, run string }

const (
	readme  = "README.md"
	install = "docs/install.md"

	uninstall = "helm uninstall devicetwin-operator --namespace devicetwin-system\n"
)

func script(commands string) func(*testing.T) string {
	return func(*testing.T) string { return commands }
}

// steps are all blocks of all pages, in an order in which one cluster can go through them.
func steps(p *plant) []step {
	return slices.Concat(inAnyCluster(), fromNothing(), overFlatManifests(), packaged(), onTheWay(),
		adopted(p), inStep(), looking(p), inTrouble(p), written(), changing(), steered(), examples(p), withoutThem(p))
}

// inAnyCluster are the blocks that need no cluster, or more than this one.
func inAnyCluster() []step {
	return []step{
		{
			page: readme, has: "make demo ", prints: "bin/demo",
			// They run for minutes, and this test is part of the second. make says what it would do.
			instead: []replaced{{"make ", "make -n -C checkout "}},
		},
		{page: readme, has: "--create-namespace --wait", cannot: "Pods have to run; hack/e2e/story runs the block as it stands, on a node"},
		{page: install, has: "helm test ", cannot: "a Pod takes a kubelet; TestHelmTest of test/chart is one, and runs this command"},
	}
}

// onTheWay are the blocks from the installation to what is declared.
func onTheWay() []step {
	return []step{
		// No scheduler and no kubelet: playDeployments says that the Pods run.
		{page: install, has: "rollout status", before: script(uninstall), prints: `deployment "devicetwin-operator-manager" successfully rolled out`},
		{page: install, has: "kubectl label namespace", prints: "namespace/devicetwin-system"},
		{page: install, has: "--reuse-values --set fleetSize=50000", prints: "STATUS: deployed"},
		{page: install, has: "--reset-then-reuse-values", prints: "STATUS: deployed"},
		{page: install, has: "helm uninstall", prints: "uninstalled"},
		{
			page: install, has: "watchNamespaces={plant-a,plant-b}", prints: "STATUS: deployed",
			before: script("kubectl create namespace plant-a\nkubectl create namespace plant-b\n"),
		},
		{page: install, has: "--set emulator.enabled=true", prints: "kind: HubConnection"},
		{
			page: install, has: "kind: DeviceTwin", prints: "devicetwin.iothub.devicetwin.io/thermostat-1 created",
			instead: []replaced{{ // there is no Pod
				"kubectl -n devicetwin-system logs deployment/devicetwin-operator-manager -c devicesim ",
				"kubectl -n devicetwin-system get deployment/devicetwin-operator-manager ",
			}},
		},
		{page: readme, has: "--create-namespace\n", before: script(uninstall), prints: "STATUS: deployed"},
		{
			// The shell's az stands in for Azure's, and prints a connection string.
			page: readme, has: "az iot hub", prints: "hubconnection.iothub.devicetwin.io/factory-hub created",
		},
		{page: readme, has: "MY-DEVICE", prints: "my-device"},
		{
			page: readme, has: "kind: TwinQuery", prints: "devicetwin.iothub.devicetwin.io/thermostat-1 patched",
			instead: []replaced{
				{"--watch ", ""}, // which does not end
				{"logs deployment/devicetwin-operator-manager -c devicesim ", "get deployment/devicetwin-operator-manager "}, // there is no Pod
			},
		},
	}
}

// fromNothing are the blocks that bring the definitions to a cluster without them.
func fromNothing() []step {
	return []step{
		{
			page: install, has: "install.yaml", prints: "deployment.apps/devicetwin-manager serverside-applied",
			// As a release is made.
			before:  script(`checkout/hack/release.sh "$PWD/release" ghcr.io/devicetwin-io "$(cat checkout/VERSION)"`),
			instead: []replaced{{"https://github.com/devicetwin-io/devicetwin-operator/releases/download/v0.1.0/", "release/"}},
		},
	}
}

// packaged takes over what the flat manifests have brought.
func packaged() []step {
	return []step{
		{
			page: install, has: "helm pull", prints: "STATUS: deployed",
			instead: []replaced{ // there is no registry, and the definitions are there from the step before
				{"helm pull " + chartURL + " --version 0.1.0", "helm package charts/devicetwin-operator"},
				{"skopeo copy --all docker://", ": docker://"},
				{"--create-namespace", "--create-namespace --take-ownership --force-conflicts"},
			},
		},
	}
}

// withoutThem are the blocks that take the definitions away, and bring them back. They are the last: definitions that
// are deleted right after they were made may take the API server minutes to be rid of.
func withoutThem(p *plant) []step {
	return []step{
		{
			// No manager runs any more that would take the finalizer off.
			page: troubleshooting, has: "finalizers", prints: "devicetwin.iothub.devicetwin.io/thermostat-1 patched",
			before: func(*testing.T) string {
				p.stop()
				return "kubectl config set-context --current --namespace " + namespace + `
kubectl apply --server-side --field-manager plant -f location.yaml
kubectl patch devicetwin thermostat-1 --type merge -p '{"metadata":{"finalizers":["` + v1alpha1.CleanupFinalizer + `"]}}'
kubectl delete devicetwin thermostat-1 --wait=false
`
			},
			after: script("kubectl wait --for=delete --timeout=60s devicetwin/thermostat-1\n"),
		},
		{page: install, has: "kubectl delete crd", before: script(uninstall), prints: `"devicetwins.iothub.devicetwin.io" deleted`},
		{page: install, has: "helm template crds", prints: "customresourcedefinition.apiextensions.k8s.io/devicetwins.iothub.devicetwin.io serverside-applied"},
	}
}
