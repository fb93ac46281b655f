package pages_test

import "fmt"

const (
	sets          = "docs/sets.md"
	devicetwinset = "docs/spec/devicetwinset.md"
)

// lineSeven applies a set over the plant's presses, with another revision for each ring.
func lineSeven(ring, waves string) string {
	return applied(lineSevenManifest(ring, waves))
}

func lineSevenManifest(ring, waves string) string {
	return `apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwinSet
metadata: {name: line-7}
spec:
  hubRef: {name: factory}
  selector: {deviceIds: [redmond-press-1, redmond-press-2, redmond-press-3, redmond-press-4]}
  maxDevices: 4
  interval: 5s
  template: {tags: {ring: ` + ring + `}}
  rollout:
    success: {from: Written}
    waves: ` + waves + `
`
}

const (
	noWaves = "[]"
	canary  = `[{name: canary, where: "deviceId = 'redmond-press-1'", then: Approve}]`
	// awaited waits until a wave waits for its approval.
	awaited = "kubectl wait --for=jsonpath='{.status.phase}'=AwaitingApproval --timeout=60s devicetwinset/line-7\n"
	// completed waits until all devices hold the revision.
	completed = "kubectl wait --for=jsonpath='{.status.phase}'=Complete --timeout=60s devicetwinset/line-7\n"
)

// guard lets so many twins be changed within an hour.
func guard(most int) string {
	return fmt.Sprintf("kubectl patch hubconnection factory --type merge -p '{\"spec\":{\"guard\":{\"maxChangesPerHour\":%d}}}'\n", most)
}

// rolledOut is the block that the others on sets build upon.
func rolledOut() step {
	manifest := "cat >line-7.yaml <<'EOF'\n" + lineSevenManifest("one", noWaves) + "EOF\nkubectl apply -f line-7.yaml\n" + completed
	return step{page: plugin, has: "kubectl apply -f line-7.yaml", before: script(manifest), prints: "Complete"}
}

// steered are the blocks that act on a rollout.
func steered() []step {
	named := replaced{"presses", "line-7"}
	return []step{
		{page: sets, has: "approve=2f39ab7f05", before: script(lineSeven("three", canary) + awaited), instead: []replaced{named}, prints: "line-7", after: script(completed)},
		{page: sets, has: "create rolebinding", instead: []replaced{{"-n factory ", ""}}, prints: "approvers created"},
		{
			page: devicetwinset, has: "kubectl twin approve", before: script(lineSeven("four", canary) + awaited), prints: "condition met",
			instead: []replaced{{"kubectl twin rollout presses --watch ", "kubectl twin rollout presses "}, named}, // it ends once it is approved
		},
		{page: plugin, has: "kubectl twin pause", prints: "devicetwinset/line-7 of " + namespace + " paused", after: script("kubectl twin resume set/line-7\n")},
		{page: plugin, has: "kubectl twin abort", before: script(lineSeven("five", canary) + awaited), prints: "devicetwinset/line-7 of " + namespace},
		{
			page: plugin, has: "kubectl twin rollback", prints: "RolledBack",
			instead: []replaced{{"--watch", "--watch || [ $? = 1 ]"}}, // what was declared is not on the devices
			after:   script(lineSeven("six", noWaves) + completed),
		},
	}
}

// written are the blocks about what was written to the hub.
func written() []step {
	edit := func(rack string) string {
		return "kubectl patch devicetwin thermostat-1 --type merge -p '{\"spec\":{\"tags\":{\"rack\":\"" + rack + "\"}}}'\nkubectl twin reconcile thermostat-1 --wait\n"
	}
	return []step{
		{page: plugin, has: "kubectl twin history thermostat-1 -o json", before: script(guard(1000) + edit("r1") + "kubectl get devicetwin thermostat-1 -o jsonpath='{.metadata.generation}' >generation\n" + edit("r2")), prints: "tags.rack"},
		{
			page: plugin, has: "kubectl twin undo thermostat-1 --to 3", before: script(edit("r3")), prints: "tags.rack",
			instead: []replaced{{"kubectl twin undo thermostat-1 --to 3", "kubectl twin reconcile thermostat-1 --wait\nkubectl twin undo thermostat-1 --to $(cat generation)"}},
		},
		{page: plugin, has: "kubectl twin invoke", cannot: "no device of the plant answers methods; TestInvokeCallsTheDevice of internal/kubectltwin has one that does"},
	}
}
