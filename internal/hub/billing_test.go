package hub

import (
	"fmt"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// TestWhatAHundredTwinsCost in messages of 4 KB, with ids of 17 characters: docs/sizing.md reckons with these figures.
func TestWhatAHundredTwinsCost(t *testing.T) {
	t.Parallel()
	var ids []string
	for i := range PageRows {
		ids = append(ids, fmt.Sprintf("thermostat-%06d", i))
	}
	server, config := emulate(t, hubemulator.Options{Devices: ids, Tier: "S3"})
	s := mustOpen(t, config)
	for _, tt := range []struct {
		what     string
		messages int
		ask      func() error
	}{
		{"the rows of a full sweep", 6, func() error {
			return s.FindRows(t.Context(), RowSelection{From: Devices}, func([]IndexRow) error { return nil })
		}},
		{"the ids of a TwinQuery", 1, func() error {
			return s.FindIDs(t.Context(), Selection{From: Devices, Where: "true"}, func([]ID) error { return nil })
		}},
		{"their count", 1, func() error {
			_, err := s.Count(t.Context(), Devices, "")
			return err
		}},
		{"their documents, with hardly anything in them", 15, func() error { return s.FindTwins(t.Context(), Devices, ids, func(*Twin) {}, nil) }},
	} {
		g := NewWithT(t)
		before := server.Counters().Quota.Used
		g.Expect(tt.ask()).To(Succeed(), tt.what)
		g.Expect(server.Counters().Quota.Used-before).To(BeEquivalentTo(tt.messages), tt.what)
	}
}
