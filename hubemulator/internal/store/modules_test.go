package store_test

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

func (h *hub) addModule(t *testing.T, id store.ID) (key string) {
	t.Helper()
	if _, err := h.PutIdentity(id, "", []byte("{}")); err != nil {
		t.Fatal(err)
	}
	key, err := h.Key(id)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (h *hub) connectModule(t *testing.T, id store.ID) (*store.Session, <-chan store.DropReason) {
	t.Helper()
	key, err := h.Key(id)
	if err != nil {
		t.Fatal(err)
	}
	credential, err := h.AuthenticateModule(id.Device, id.Module, newToken(t, host, key, "", h.clock.Now().Add(time.Hour)))
	if err != nil {
		t.Fatal(err)
	}
	dropped := make(chan store.DropReason, 10)
	session, err := h.Connect(credential, func(reason store.DropReason) { dropped <- reason })
	if err != nil {
		t.Fatal(err)
	}
	return session, dropped
}

func (h *hub) connectionState(t *testing.T, id store.ID) any {
	t.Helper()
	twin, err := h.Twin(id)
	if err != nil {
		t.Fatal(err)
	}
	return twin["connectionState"]
}

func TestAuthenticateModule(t *testing.T) {
	t.Parallel()
	h := newHub(t, "d1", "off")
	id := store.ID{Device: "d1", Module: "m1"}
	key, other := h.addModule(t, id), h.addModule(t, store.ID{Device: "d1", Module: "m2"})
	disabled := h.addModule(t, store.ID{Device: "off", Module: "m1"})
	_, err := h.PutIdentity(store.ID{Device: "off"}, "*", []byte(`{"status":"disabled"}`))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	deviceKey, err := h.Key(store.ID{Device: "d1"})
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	later := h.clock.Now().Add(time.Hour)
	policy := func(name string) string {
		for _, known := range h.Policies() {
			if known.Name == name {
				return newToken(t, host, known.SecondaryKey, name, later)
			}
		}
		return ""
	}
	for _, tt := range []struct {
		name, device, module, token string
		accepted                    bool
	}{
		{"for the module", "d1", "m1", newToken(t, host+"/devices/d1/modules/m1", key, "", later), true},
		{"for the device", "d1", "m1", newToken(t, host+"/devices/d1", key, "", later), true},
		{"for the hub", "d1", "m1", newToken(t, host, key, "", later), true},
		{"a policy's", "d1", "m1", policy("device"), true},
		{"a policy's that may not connect", "d1", "m1", policy("service"), false},
		{"for another module", "d1", "m1", newToken(t, host+"/devices/d1/modules/m2", key, "", later), false},
		{"with the device's key", "d1", "m1", newToken(t, host, deviceKey, "", later), false},
		{"with another module's key", "d1", "m1", newToken(t, host, other, "", later), false},
		{"expired", "d1", "m1", newToken(t, host, key, "", h.clock.Now()), false},
		{"of a missing module", "d1", "m3", policy("device"), false},
		{"of a missing device", "absent", "m1", policy("device"), false},
		{"of a disabled device", "off", "m1", newToken(t, host, disabled, "", later), false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			credential, err := h.AuthenticateModule(tt.device, tt.module, tt.token)
			if tt.accepted {
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(credential.ID).To(Equal(id))
				return
			}
			g.Expect(refusal(t, err).Status).To(Equal(http.StatusUnauthorized))
		})
	}
}

func TestModulesConnectByThemselves(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	id := store.ID{Device: "d1", Module: "m1"}
	h.addModule(t, id)
	device, _ := h.connect(t, "d1")
	module, _ := h.connectModule(t, id)

	var seen []int64
	module.SubscribeDesired(func(version int64, _ map[string]any) { seen = append(seen, version) })
	for _, target := range []store.ID{{Device: "d1"}, id} {
		_, err := h.PatchTwin(target, "", []byte(`{"properties":{"desired":{"a":1}}}`))
		g.Expect(err).NotTo(HaveOccurred())
	}
	g.Expect(seen).To(Equal([]int64{2}), "of its own twin alone")
	g.Expect(module.PatchReported([]byte(`{"b":1}`), nil)).To(Equal(int64(2)))
	g.Expect(module.Twin()).To(MatchJSON(`{"desired":{"a":1,"$version":2},"reported":{"b":1,"$version":2}}`))
	g.Expect(device.Twin()).To(MatchJSON(`{"desired":{"a":1,"$version":2},"reported":{"$version":1}}`))

	g.Expect(h.Statistics()).To(Equal(store.Statistics{Enabled: 1, Connected: 1}), "modules are no devices")
	device.Close()
	g.Expect(h.Statistics().Connected).To(BeZero())
	g.Expect(h.connectionState(t, id)).To(Equal("Connected"))
	module.Close()
	g.Expect(h.connectionState(t, id)).To(Equal("Disconnected"))
}

func TestModulesAreDropped(t *testing.T) {
	t.Parallel()
	id, device := store.ID{Device: "d1", Module: "m1"}, store.ID{Device: "d1"}
	for _, tt := range []struct {
		name   string
		change func(*hub) error
		reason store.DropReason
	}{
		{"deleted", func(h *hub) error { return h.DeleteIdentity(id, "*") }, store.DropDeleted},
		{"device deleted", func(h *hub) error { return h.DeleteIdentity(device, "*") }, store.DropDeleted},
		{"device disabled", func(h *hub) error {
			_, err := h.PutIdentity(device, "*", []byte(`{"status":"disabled"}`))
			return err
		}, store.DropDisabled},
		{"new keys", func(h *hub) error {
			_, err := h.PutIdentity(id, "*", []byte(`{}`))
			return err
		}, store.DropKeyChanged},
		{"new keys of the device", func(h *hub) error {
			_, err := h.PutIdentity(device, "*", []byte(`{}`))
			return err
		}, ""},
		{"bulk delete", func(h *hub) error {
			_, err := h.Bulk([]byte(`[{"id":"d1","importMode":"delete"}]`))
			return err
		}, store.DropDeleted},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := newHub(t, "d1")
			h.addModule(t, id)
			_, dropped := h.connectModule(t, id)
			g.Expect(tt.change(h)).To(Succeed())
			if tt.reason == "" {
				g.Expect(dropped).NotTo(Receive())
				g.Expect(h.connectionState(t, id)).To(Equal("Connected"))
				return
			}
			g.Expect(dropped).To(Receive(Equal(tt.reason)))
		})
	}
}

func TestSystemModulesConnectWithTheirDevicesKey(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t)
	edge, agent := store.ID{Device: "e1"}, store.ID{Device: "e1", Module: "$edgeAgent"}
	created, err := h.PutIdentity(edge, "", []byte(`{"capabilities":{"iotEdge":true}}`))
	g.Expect(err).NotTo(HaveOccurred())
	_, dropped := h.connectModule(t, agent)
	g.Expect(h.connectionState(t, agent)).To(Equal("Connected"))
	g.Expect(h.connectionState(t, edge)).To(Equal("Disconnected"))

	_, err = h.PutIdentity(edge, "*", fmt.Appendf(nil, `{"capabilities":{"iotEdge":true},"deviceScope":%q}`, created.Document["deviceScope"]))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dropped).To(Receive(Equal(store.DropKeyChanged)), "the device's keys were minted anew")

	_, dropped = h.connectModule(t, agent)
	_, err = h.PutIdentity(edge, "*", []byte(`{}`))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(dropped).To(Receive(BeElementOf(store.DropKeyChanged, store.DropDeleted)))
	g.Expect(dropped).NotTo(Receive())
}
