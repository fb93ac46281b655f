package fault_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
)

var operations = []fault.Operation{
	{Name: "getTwin", ReadsTwin: true}, {Name: "updateTwin"}, {Name: "query", Queries: true},
	{Name: "mqttTwinGet", ReadsTwin: true, OverMQTT: true},
}

func add(t *testing.T, set *fault.Set, rule fault.Rule) string {
	t.Helper()
	id, err := set.Add(rule, operations)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func action(t *testing.T, set *fault.Set, operation, deviceID string) fault.Action {
	t.Helper()
	verdict, err := set.Apply(t.Context(), operation, deviceID)
	if err != nil {
		t.Fatal(err)
	}
	return verdict.Action
}

func TestMatching(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var set fault.Set
	add(t, &set, fault.Rule{Operation: "getTwin", DeviceID: "d1", Count: 1, Action: fault.Reset})
	add(t, &set, fault.Rule{Operation: fault.AnyOperation, DeviceID: "d1", Count: 2, Action: fault.DropAnswer})
	g.Expect(action(t, &set, "getTwin", "d2")).To(Equal(fault.None))
	g.Expect(action(t, &set, "getTwin", "d1")).To(Equal(fault.Reset), "the oldest wins")
	g.Expect(action(t, &set, "getTwin", "d1")).To(Equal(fault.DropAnswer))
	g.Expect(action(t, &set, "updateTwin", "d1")).To(Equal(fault.DropAnswer))
	g.Expect(action(t, &set, "updateTwin", "d1")).To(Equal(fault.None))
}

// outcomes plays the same requests of two devices and says which were hit. The
// devices take turns, or one comes after the other.
func outcomes(t *testing.T, seed int64, takeTurns bool) map[string][]bool {
	t.Helper()
	set := fault.Set{Seed: seed}
	add(t, &set, fault.Rule{Operation: "getTwin", Probability: 0.25, Action: fault.Reset})
	hits := map[string][]bool{}
	play := func(device string) {
		hits[device] = append(hits[device], action(t, &set, "getTwin", device) == fault.Reset)
	}
	const each = 2000
	for i := range 2 * each {
		switch {
		case takeTurns:
			play(fmt.Sprintf("d%d", i%2))
		default:
			play(fmt.Sprintf("d%d", i/each))
		}
	}
	return hits
}

func TestProbability(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	first := outcomes(t, 1, true)
	g.Expect(outcomes(t, 1, true)).To(Equal(first), "the same seed, the same faults")
	g.Expect(outcomes(t, 1, false)).To(Equal(first), "whatever the devices' requests are interleaved like")
	g.Expect(outcomes(t, 2, true)).NotTo(Equal(first))
	g.Expect(first["d0"]).NotTo(Equal(first["d1"]))
	for _, device := range []string{"d0", "d1"} {
		hits := 0
		for _, hit := range first[device] {
			if hit {
				hits++
			}
		}
		g.Expect(hits).To(BeNumerically("~", 500, 100))
	}

	var set fault.Set
	add(t, &set, fault.Rule{Operation: "getTwin", Probability: 1, Action: fault.Reset})
	for range 100 {
		g.Expect(action(t, &set, "getTwin", "d")).To(Equal(fault.Reset))
	}
	g.Expect(set.List()[0].Hits).To(Equal(100))
}

func TestDelay(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock := testclock.NewFakeClock(time.Unix(0, 0))
	set := fault.Set{Clock: clock}
	id := add(t, &set, fault.Rule{Operation: "getTwin", Action: fault.Delay, Delay: fault.Duration(time.Minute)})
	ctx, leave := context.WithCancel(t.Context())
	results := make(chan error, 1)
	begin := func() {
		go func() {
			_, err := set.Apply(ctx, "getTwin", "d")
			results <- err
		}()
		g.Eventually(clock.HasWaiters).Should(BeTrue())
		g.Expect(set.List()[0].Held).To(Equal(1))
	}
	begin()
	clock.Step(59 * time.Second)
	g.Consistently(results, "20ms").ShouldNot(Receive())
	clock.Step(time.Second)
	g.Eventually(results).Should(Receive(BeNil()))
	g.Expect(set.List()[0].Held).To(BeZero())

	begin()
	leave()
	g.Eventually(results).Should(Receive(MatchError(context.Canceled)))

	ctx = t.Context()
	g.Eventually(clock.HasWaiters).Should(BeFalse())
	begin()
	set.Remove(id)
	g.Eventually(results).Should(Receive(BeNil()), "released with its rule")
}

func TestHoldAndHang(t *testing.T) {
	t.Parallel()
	for _, waiting := range []fault.Action{fault.Hold, fault.Hang} {
		g := NewWithT(t)
		var set fault.Set
		id := add(t, &set, fault.Rule{Operation: "getTwin", Action: waiting})
		var wg sync.WaitGroup
		for range 3 {
			wg.Go(func() { _, _ = set.Apply(t.Context(), "getTwin", "d") })
		}
		g.Eventually(func() int { return set.List()[0].Held }).Should(Equal(3))
		g.Expect(set.Remove(id)).To(BeTrue())
		wg.Wait()
		g.Expect(set.Remove(id)).To(BeFalse())
	}
}

func TestInvalidRules(t *testing.T) {
	t.Parallel()
	for text, problem := range map[string]string{
		`{"operation":"","action":"hold"}`:                                     `operation "" is unknown; use one of ["getTwin" "updateTwin" "query" "mqttTwinGet"], or "*" for all`,
		`{"operation":"getTwin","action":""}`:                                  `action "" is unknown`,
		`{"operation":"getTwin","action":"hold","probability":1.1}`:            "probability 1.1 is not one",
		`{"operation":"getTwin","action":"hold","probability":-0.1}`:           "probability -0.1 is not one",
		`{"operation":"getTwin","action":"delay"}`:                             "needs a delay",
		`{"operation":"getTwin","action":"delay","delay":"-1s"}`:               "needs a delay",
		`{"operation":"updateTwin","action":"staleRead"}`:                      `is for reads of a twin; use one of the operations ["getTwin" "mqttTwinGet"]`,
		`{"operation":"*","action":"staleRead"}`:                               `is for reads of a twin; use one of the operations ["getTwin" "mqttTwinGet"]`,
		`{"operation":"updateTwin","action":"mqttDrop"}`:                       "needs a deviceId",
		`{"operation":"updateTwin","action":"status"}`:                         "status 0 is no failure",
		`{"operation":"mqttTwinGet","action":"queue"}`:                         "is for an operation of the service API",
		`{"operation":"*","action":"queue"}`:                                   "is for an operation of the service API",
		`{"operation":"getTwin","action":"indexStall"}`:                        `use the operation "query" and no deviceId`,
		`{"operation":"getTwin","action":"hold","count":-1,"probability":0.5}`: "is negative",
	} {
		g := NewWithT(t)
		var rule fault.Rule
		g.Expect(json.Unmarshal([]byte(text), &rule)).To(Succeed())
		var set fault.Set
		_, err := set.Add(rule, operations)
		g.Expect(err).To(MatchError(ContainSubstring(problem)), text)
		g.Expect(set.List()).To(BeEmpty())
	}
	var rule fault.Rule
	NewWithT(t).Expect(json.Unmarshal([]byte(`{"delay":"soon"}`), &rule)).To(
		MatchError(ContainSubstring(`the delay "soon" is not a duration`)))
}

func TestValidRules(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	for _, text := range []string{
		`{"operation":"mqttTwinGet","action":"mqttDrop"}`,
		`{"operation":"updateTwin","deviceId":"d","action":"mqttDrop"}`,
		`{"operation":"mqttTwinGet","action":"staleRead"}`,
	} {
		var rule fault.Rule
		g.Expect(json.Unmarshal([]byte(text), &rule)).To(Succeed())
		var set fault.Set
		add(t, &set, rule)
	}
}
