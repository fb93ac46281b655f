package twinrequest

import (
	"encoding/json"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	clocktesting "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
)

func row(device string, document map[string]any) hub.Row {
	document["deviceId"] = device
	return hub.Row{ID: hub.ID{Device: device}, Document: document}
}

// TestRowsOutOfScopeAreNotShown, whatever the hub answers: not even that they were there.
func TestRowsOutOfScopeAreNotShown(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	conn := &v1alpha1.HubConnection{}
	conn.Spec.DeviceScopes = []v1alpha1.DeviceScope{{Namespace: "line", DeviceIDPrefix: "line-"}}
	page := hub.Page{Rows: []hub.Row{row("other-1", map[string]any{}), row("line-1", map[string]any{})}}
	rows, unreadable := rowsOf(page, hubaccess.ScopeOf(conn, "line"), false)
	g.Expect(rows).To(HaveLen(1))
	g.Expect(string(rows[0].Raw)).To(Equal(`{"deviceId":"line-1"}`))
	g.Expect(unreadable).To(BeZero())
}

// TestRowsAsTheyAreStored: what the API server cannot store is left out and counted, and metadata
// is there only where it was asked for.
func TestRowsAsTheyAreStored(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	page := func() hub.Page {
		return hub.Page{Unreadable: 1, Rows: []hub.Row{
			row("a", map[string]any{"properties": map[string]any{"desired": map[string]any{"$metadata": map[string]any{}, "n": json.Number("1.50")}}}),
			row("b", map[string]any{"tags": map[string]any{"n": json.Number("1e400")}}),
		}}
	}
	open := hubaccess.ScopeOf(&v1alpha1.HubConnection{}, "line")
	for asked, want := range map[bool]string{
		false: `{"deviceId":"a","properties":{"desired":{"n":1.5}}}`,
		true:  `{"deviceId":"a","properties":{"desired":{"$metadata":{},"n":1.5}}}`,
	} {
		rows, unreadable := rowsOf(page(), open, asked)
		g.Expect(unreadable).To(BeEquivalentTo(2))
		g.Expect(rows).To(HaveLen(1))
		g.Expect(string(rows[0].Raw)).To(Equal(want))
	}
}

// TestTheTimeOfARequest begins with the first attempt, and anew for a namesake.
func TestTheTimeOfARequest(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	clock := clocktesting.NewFakePassiveClock(time.Now())
	starts := NewStarts(clock)
	name := types.NamespacedName{Namespace: "line", Name: "r"}
	g.Expect(starts.Left(name, "1")).To(Equal(Bound))
	clock.SetTime(clock.Now().Add(40 * time.Second))
	g.Expect(starts.Left(name, "1")).To(Equal(20 * time.Second))
	g.Expect(starts.Left(name, "2")).To(Equal(Bound))
	clock.SetTime(clock.Now().Add(2 * Bound))
	g.Expect(starts.Left(name, "2")).To(BeNumerically("<", 0))
	starts.Forget(name)
	g.Expect(starts.Left(name, "2")).To(Equal(Bound))
}
