package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

func TestTwinIsReadAndChangedUnderItsETag(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, cfg := emulate(t, hubemulator.Options{Devices: []string{"thermostat-1"}})
	s := mustOpen(t, cfg)
	g.Expect(s.Host()).To(Equal(server.HostName()))

	fresh, err := s.GetTwin(t.Context(), ID{Device: "thermostat-1"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(*fresh).To(Equal(Twin{
		ID: ID{Device: "thermostat-1"}, ETag: "AAAAAAAAAAE=", DeviceETag: fresh.DeviceETag, Version: 2,
		ConnectionState: "Disconnected", Status: "enabled", DesiredVersion: 1, ReportedVersion: 1,
		RequestID: fresh.RequestID, document: fresh.document, desired: fresh.desired, reported: fresh.reported,
		Tags: map[string]any{}, Desired: map[string]any{}, Reported: map[string]any{},
	}))
	g.Expect(fresh.ReportedAt()).To(BeTemporally("~", time.Now(), time.Minute))
	g.Expect(fresh.DesiredStamps().Updated).To(Equal(fresh.ReportedAt()))
	g.Expect(fresh.DeviceETag).NotTo(BeEmpty())
	g.Expect(fresh.RequestID).NotTo(BeEmpty())

	changed, err := s.PatchTwin(t.Context(), ID{Device: "thermostat-1"}, fresh.ETag, Patch{
		Tags:    map[string]any{"location": map[string]any{"plant": "Redmond43"}},
		Desired: map[string]any{"power_level": json.Number("1"), "empty": map[string]any{}, "exact": int64(4503599627370495)},
	})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(changed.ETag).NotTo(Equal(fresh.ETag))
	g.Expect(changed.DesiredVersion).To(Equal(int64(2)))
	g.Expect(changed.Desired).To(Equal(map[string]any{
		"power_level": json.Number("1"), "empty": map[string]any{}, "exact": json.Number("4503599627370495"),
	}))

	tagged, err := s.PatchTwin(t.Context(), ID{Device: "thermostat-1"}, changed.ETag, Patch{
		Tags: map[string]any{"location": map[string]any{"plant": nil}}, Desired: map[string]any{},
	})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(tagged.DesiredVersion).To(Equal(int64(2)), "a change of tags alone must leave desired properties alone")
	g.Expect(tagged.Tags).To(Equal(map[string]any{"location": map[string]any{}}))

	_, err = s.PatchTwin(t.Context(), ID{Device: "thermostat-1"}, changed.ETag, Patch{Tags: map[string]any{"a": "b"}})
	stale := asError(t, err)
	g.Expect(stale.Reason).To(Equal(ReasonPreconditionFailed))
	g.Expect(stale.Code).To(Equal("PreconditionFailed"))
	g.Expect(OutcomeUnknown(err)).To(BeFalse())
}

// TestHubWithAnAddressForAName: URL, certificate and signature go by the address.
func TestHubWithAnAddressForAName(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, cfg := emulate(t, hubemulator.Options{Hostname: "[::1]", HTTPSAddress: "[::1]:0", Devices: []string{"d1"}})
	cfg.AllowedHostSuffixes = []string{"::1"}
	s := mustOpen(t, cfg)
	g.Expect(s.Host()).To(And(HavePrefix("[::1]:"), Equal(server.HostName())))
	g.Expect(s.Probe(t.Context())).To(Succeed())
	_, err := s.GetTwin(t.Context(), ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
}

func TestProbe(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, cfg := emulate(t, hubemulator.Options{})
	g.Expect(mustOpen(t, cfg).Probe(t.Context())).To(Succeed())

	wrongKey := cfg
	wrongKey.ConnectionString = connectionTo(server.HostName())
	g.Expect(asError(t, mustOpen(t, wrongKey).Probe(t.Context())).Reason).To(Equal(ReasonUnauthorized))

	wrongPolicy := cfg
	connection, err := server.ServiceConnectionString("registryReadWrite")
	g.Expect(err).NotTo(HaveOccurred())
	wrongPolicy.ConnectionString = connection
	refused := asError(t, mustOpen(t, wrongPolicy).Probe(t.Context()))
	g.Expect(refused.Reason).To(Equal(ReasonUnauthorized))
	g.Expect(refused.Error()).To(And(ContainSubstring("ServiceConnect"), ContainSubstring(server.HostName())))
}

func TestMissingDeviceIsNotFound(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	_, cfg := emulate(t, hubemulator.Options{})
	_, err := mustOpen(t, cfg).GetTwin(t.Context(), ID{Device: "absent"})
	missing := asError(t, err)
	g.Expect(missing.Reason).To(Equal(ReasonDeviceNotFound))
	g.Expect(missing.Error()).To(ContainSubstring(`"absent"`))
	g.Expect(missing.RequestID).NotTo(BeEmpty())
	g.Expect(missing.Error()).NotTo(ContainSubstring(missing.RequestID))
}

// Rows that share memory across pages would show a device twice, or lose one.
func TestQueryCollectsAllPages(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var devices []string
	for i := range 250 {
		devices = append(devices, fmt.Sprintf("device-%03d", i))
	}
	server, cfg := emulate(t, hubemulator.Options{Devices: devices})
	s := mustOpen(t, cfg)

	g.Eventually(func() ([]ID, error) {
		return allIDs(t.Context(), s, Devices, "status = 'enabled'")
	}, 10*time.Second).Should(Equal(deviceIDs(devices...)))
	g.Expect(server.Counters().Operations["query"].Calls%3).To(BeZero(), "250 devices are three pages of a hundred")

	for most, want := range map[int]int{2: 200, 3: 250} {
		before := server.Counters().Operations["query"].Calls
		ids, all, err := IDs(t.Context(), s, Selection{From: Devices, Where: "status = 'enabled'"}, most)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(ids).To(HaveLen(want))
		g.Expect(all).To(Equal(most == 3))
		g.Expect(server.Counters().Operations["query"].Calls-before).To(BeEquivalentTo(3), "a further page tells that there is one")
	}
	g.Expect(s.Count(t.Context(), Devices, "deviceId >= 'device-100' OR deviceId = 'device-000'")).To(BeEquivalentTo(151))
	g.Expect(s.Count(t.Context(), Devices, "")).To(BeEquivalentTo(250))
	batch, all, err := IDs(t.Context(), s, Selection{
		From: Devices, Where: "deviceId >= 'device-100' OR deviceId = 'device-000'", Batch: []string{"device-001", "device-100", "x"},
	}, 0)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(all).To(BeTrue())
	g.Expect(batch).To(Equal(deviceIDs("device-100")), "the condition is narrowed as a whole")

	none, err := allIDs(t.Context(), s, Devices, "tags.location.plant = 'Redmond43'")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(none).To(BeEmpty())

	_, err = allIDs(t.Context(), s, Devices, "tags.location.plant ==")
	malformed := asError(t, err)
	g.Expect(malformed.Reason).To(Equal(ReasonRefused))
	g.Expect(malformed.Error()).To(ContainSubstring("condition"))
}

func TestOddDeviceIDsReachTheirTwin(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	ids := []string{"a#b", "a%23b", "a+b", "a.b", "a'b", "a?b=c", "a:b@c", "$a,b=c!(d)*", "-._%2F", "a%b"}
	_, cfg := emulate(t, hubemulator.Options{Devices: ids})
	s := mustOpen(t, cfg)
	for _, id := range ids {
		twin, err := s.GetTwin(t.Context(), ID{Device: id})
		g.Expect(err).NotTo(HaveOccurred(), id)
		changed, err := s.PatchTwin(t.Context(), ID{Device: id}, twin.ETag, Patch{Tags: map[string]any{"id": id}})
		g.Expect(err).NotTo(HaveOccurred(), id)
		g.Expect(changed.Tags).To(Equal(map[string]any{"id": id}))
	}
	slices.Sort(ids)
	g.Eventually(func() ([]ID, error) {
		return allIDs(t.Context(), s, Devices, "IS_DEFINED(tags.id)")
	}, 10*time.Second).Should(Equal(deviceIDs(ids...)))
}

func deviceIDs(names ...string) []ID {
	ids := make([]ID, 0, len(names))
	for _, name := range names {
		ids = append(ids, ID{Device: name})
	}
	return ids
}

func TestModuleTwins(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, cfg := emulate(t, hubemulator.Options{Devices: []string{"d1", "d2"}})
	for _, module := range []string{"m+1", "m2"} {
		_, err := server.AddModule("d1", module)
		g.Expect(err).NotTo(HaveOccurred())
	}
	s := mustOpen(t, cfg)
	id := ID{Device: "d1", Module: "m+1"}
	fresh, err := s.GetTwin(t.Context(), id)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(fresh.ID).To(Equal(id))
	changed, err := s.PatchTwin(t.Context(), id, fresh.ETag, Patch{
		Tags: map[string]any{"a": "b"}, Desired: map[string]any{"level": map[string]any{"x": json.Number("1")}},
	})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(changed.Tags).To(Equal(map[string]any{"a": "b"}))
	level := changed.DesiredStamps().Members["level"]
	g.Expect(level.Version).To(Equal(int64(2)))
	g.Expect(level.Members["x"].Updated).To(BeTemporally("~", time.Now(), time.Minute))
	device, err := s.GetTwin(t.Context(), ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(device.Tags).To(BeEmpty())

	found, err := allIDs(t.Context(), s, Modules, "deviceId = 'd1'")
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(found).To(Equal([]ID{id, {Device: "d1", Module: "m2"}}))

	_, err = s.GetTwin(t.Context(), ID{Device: "d1", Module: "absent"})
	missing := asError(t, err)
	g.Expect(missing.Reason).To(Equal(ReasonDeviceNotFound))
	g.Expect(missing.Error()).To(ContainSubstring(`module "absent" of device "d1"`))
	_, err = allIDs(t.Context(), s, "devices.jobs", "true = true")
	g.Expect(asError(t, err).Reason).To(Equal(ReasonRefused))
}

func TestLostAnswerOfAWriteIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]hubemulator.Fault{
		"applied, answer lost": {Operation: "updateTwin", Count: 1, Action: hubemulator.FaultDropAnswer},
		"server failed":        {Operation: "updateTwin", Count: 1, Action: hubemulator.FaultStatus, Status: 503},
		"held until given up":  {Operation: "updateTwin", Action: hubemulator.FaultHold},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			server, cfg := emulate(t, hubemulator.Options{Devices: []string{"d1"}})
			s := mustOpen(t, cfg)
			twin, err := s.GetTwin(t.Context(), ID{Device: "d1"})
			g.Expect(err).NotTo(HaveOccurred())
			id, err := server.AddFault(fault)
			g.Expect(err).NotTo(HaveOccurred())
			defer server.RemoveFault(id)

			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			done := make(chan error, 1)
			go func() {
				_, err := s.PatchTwin(ctx, ID{Device: "d1"}, twin.ETag, Patch{Tags: map[string]any{"a": "b"}})
				done <- err
			}()
			if fault.Action == hubemulator.FaultHold {
				g.Eventually(func() int { return server.Faults()[0].Held }, time.Minute).Should(Equal(1))
				cancel()
			}
			err = <-done
			asError(t, err)
			g.Expect(OutcomeUnknown(err)).To(BeTrue(), "%v", err)
			g.Expect(server.Faults()[0].Hits).To(BeNumerically("==", 1), "a write is never sent twice")
		})
	}
}

// Writes that go on side by side are given up together when one of them fails: what became of each is its own.
func TestAWriteGivenUpForAnotherOneIsAnUnknownOutcome(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, cfg := emulate(t, hubemulator.Options{Devices: []string{"d1", "d2", "d3"}})
	s := mustOpen(t, cfg)
	for _, fault := range []hubemulator.Fault{
		{Operation: "updateTwin", DeviceID: "d1", Action: hubemulator.FaultStatus, Status: 429},
		{Operation: "updateTwin", Action: hubemulator.FaultHold},
	} {
		id, err := server.AddFault(fault)
		g.Expect(err).NotTo(HaveOccurred())
		defer server.RemoveFault(id)
	}
	patch := func(ctx context.Context, device string) error {
		_, err := s.PatchTwin(ctx, ID{Device: device}, "AAAAAAAAAAE=", Patch{Tags: map[string]any{"a": "b"}})
		return err
	}
	throttled := patch(t.Context(), "d1")
	first := *asError(t, throttled)
	g.Expect(first.Reason).To(Equal(ReasonThrottled))

	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	done := make(chan error, 2)
	for _, device := range []string{"d2", "d3"} {
		go func() { done <- patch(ctx, device) }()
	}
	g.Eventually(func() int { return server.Faults()[1].Held }, time.Minute).Should(Equal(2))
	cancel(fmt.Errorf("writing d1: %w", throttled))
	var devices []string
	for range 2 {
		err := <-done
		own := asError(t, err)
		devices = append(devices, own.ID.Device)
		g.Expect(own.Reason).To(Equal(ReasonUnreachable))
		g.Expect(own.Status).To(BeZero())
		g.Expect(OutcomeUnknown(err)).To(BeTrue(), "%v", err)
		g.Expect(errors.Is(err, context.Canceled)).To(BeTrue())
	}
	g.Expect(devices).To(ConsistOf("d2", "d3"))
	g.Expect(*asError(t, throttled)).To(Equal(first))
}

func TestThrottledByTheHub(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server, cfg := emulate(t, hubemulator.Options{Devices: []string{"d1"}})
	_, err := server.AddFault(hubemulator.Fault{Operation: "updateTwin", Action: hubemulator.FaultStatus, Status: 429})
	g.Expect(err).NotTo(HaveOccurred())
	_, err = mustOpen(t, cfg).PatchTwin(t.Context(), ID{Device: "d1"}, "AAAAAAAAAAE=", Patch{Tags: map[string]any{"a": "b"}})
	g.Expect(asError(t, err).Reason).To(Equal(ReasonThrottled))
	g.Expect(OutcomeUnknown(err)).To(BeFalse(), "a refused write was not applied")
}

func TestCancelledBeforeSendingIsNoUnknownOutcome(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	_, cfg := emulate(t, hubemulator.Options{Devices: []string{"d1"}})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := mustOpen(t, cfg).PatchTwin(ctx, ID{Device: "d1"}, "AAAAAAAAAAE=", Patch{Tags: map[string]any{"a": "b"}})
	g.Expect(asError(t, err).Reason).To(Equal(ReasonUnreachable))
	g.Expect(errors.Is(err, context.Canceled)).To(BeTrue())
	g.Expect(OutcomeUnknown(err)).To(BeFalse())
}
