package store_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	testclock "k8s.io/utils/clock/testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/sas"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

const host = "hub.example"

type hub struct {
	*store.Store
	clock *testclock.FakePassiveClock
}

// Twin is the store's, as a document.
func (h *hub) Twin(id store.ID) (map[string]any, error) {
	twin, err := h.Store.Twin(id)
	if err != nil {
		return nil, err
	}
	return twin.Document(), nil
}

func newHub(t *testing.T, devices ...string) *hub {
	t.Helper()
	clock := testclock.NewFakePassiveClock(time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC))
	h := &hub{Store: store.New(store.Options{HostNames: []string{"Hub.Example"}, Clock: clock}), clock: clock}
	for _, id := range devices {
		if _, err := h.PutIdentity(store.ID{Device: id}, "", []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	return h
}

func (h *hub) deviceToken(t *testing.T, deviceID, resource string) string {
	t.Helper()
	key, err := h.Key(store.ID{Device: deviceID})
	if err != nil {
		t.Fatal(err)
	}
	return newToken(t, resource, key, "", h.clock.Now().Add(time.Hour))
}

func newToken(t *testing.T, resource, key, policy string, expiry time.Time) string {
	t.Helper()
	token, err := sas.New(resource, key, policy, expiry)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// connect signs the device in and collects why it is dropped.
func (h *hub) connect(t *testing.T, deviceID string) (*store.Session, <-chan store.DropReason) {
	t.Helper()
	credential, err := h.AuthenticateDevice(deviceID, h.deviceToken(t, deviceID, host))
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

func refusal(t *testing.T, err error) *store.Error {
	t.Helper()
	refused, ok := errors.AsType[*store.Error](err)
	if !ok {
		t.Fatalf("%v is no refusal", err)
	}
	return refused
}

func TestAuthenticateDevice(t *testing.T) {
	t.Parallel()
	h := newHub(t, "d1", "d2")
	policyKey := map[string]string{}
	for _, policy := range h.Policies() {
		policyKey[policy.Name] = policy.PrimaryKey
	}
	_, err := h.PutIdentity(store.ID{Device: "disabled"}, "", []byte(`{"status":"disabled"}`))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	_, err = h.PutIdentity(store.ID{Device: "x509"}, "", []byte(`{"authentication":{"type":"certificateAuthority"}}`))
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	in := func(d time.Duration) time.Time { return h.clock.Now().Add(d) }
	for _, tt := range []struct {
		name, device, token string
		accepted            bool
	}{
		{"its own resource", "d1", h.deviceToken(t, "d1", host+"/devices/d1"), true},
		{"the whole hub, as one SDK signs", "d1", h.deviceToken(t, "d1", host), true},
		{"with a port", "d1", h.deviceToken(t, "d1", "HUB.example:8883/devices/D1"), true},
		{"policy with DeviceConnect", "d1", newToken(t, host+"/devices", policyKey["device"], "device", in(time.Hour)), true},
		{"owner", "d1", newToken(t, host, policyKey["iothubowner"], "iothubowner", in(time.Hour)), true},

		{"another device's resource", "d1", h.deviceToken(t, "d1", host+"/devices/d2"), false},
		{"another device's key", "d1", h.deviceToken(t, "d2", host+"/devices/d1"), false},
		{"one of its modules", "d1", h.deviceToken(t, "d1", host+"/devices/d1/modules/m"), false},
		{"another hub", "d1", h.deviceToken(t, "d1", "other.example/devices/d1"), false},
		{"policy without DeviceConnect", "d1", newToken(t, host, policyKey["service"], "service", in(time.Hour)), false},
		{"policy's key under another name", "d1", newToken(t, host, policyKey["service"], "device", in(time.Hour)), false},
		{"expired", "d1", newToken(t, host, policyKey["device"], "device", in(0)), false},
		{"unknown device", "absent", newToken(t, host, policyKey["device"], "device", in(time.Hour)), false},
		{"disabled device", "disabled", h.deviceToken(t, "disabled", host), false},
		{"no key device with an empty key", "x509", "SharedAccessSignature sr=" + host + "&sig=&se=99999999999", false},
		{"garbage", "d1", "letmein", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			credential, err := h.AuthenticateDevice(tt.device, tt.token)
			if tt.accepted {
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(credential.ID.Device).To(Equal(tt.device))
				g.Expect(credential.ExpiresAt).To(BeTemporally("==", in(time.Hour)))
				return
			}
			g.Expect(refusal(t, err).Status).To(Equal(http.StatusUnauthorized))
		})
	}
}

func TestSecondaryKey(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t)
	const first, second = "AAECAwQFBgcICQoLDA0ODw==", "EBESExQVFhcYGRobHB0eHw=="
	_, err := h.PutIdentity(store.ID{Device: "d1"}, "", []byte(`{"authentication":{"symmetricKey":{"primaryKey":"`+first+`","secondaryKey":"`+second+`"}}}`))
	g.Expect(err).NotTo(HaveOccurred())
	for _, key := range []string{first, second} {
		_, err = h.AuthenticateDevice("d1", newToken(t, host, key, "", h.clock.Now().Add(time.Hour)))
		g.Expect(err).NotTo(HaveOccurred())
	}
	for _, policy := range h.Policies() {
		if policy.Name == "service" {
			token := newToken(t, host, policy.SecondaryKey, "service", h.clock.Now().Add(time.Hour))
			g.Expect(h.AuthorizeService(token, store.ServiceConnect, "twins", "d1")).To(Succeed())
		}
	}
}

func TestConnectionState(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	state := func() []any {
		twin, err := h.Twin(store.ID{Device: "d1"})
		g.Expect(err).NotTo(HaveOccurred())
		identity, err := h.Identity(store.ID{Device: "d1"})
		g.Expect(err).NotTo(HaveOccurred())
		return []any{twin["connectionState"], twin["lastActivityTime"], identity.Document["connectionState"],
			identity.Document["connectionStateUpdatedTime"], twin["etag"], twin["version"]}
	}
	never := "0001-01-01T00:00:00Z"
	g.Expect(state()).To(Equal([]any{"Disconnected", never, "Disconnected", never, "AAAAAAAAAAE=", int64(2)}))
	session, _ := h.connect(t, "d1")
	at := "2026-11-20T10:00:00Z"
	g.Expect(state()).To(Equal([]any{"Connected", at, "Connected", at, "AAAAAAAAAAE=", int64(2)}))
	h.clock.SetTime(h.clock.Now().Add(time.Minute))
	_, err := session.Twin()
	g.Expect(err).NotTo(HaveOccurred())
	later := "2026-11-20T10:01:00Z"
	g.Expect(state()).To(Equal([]any{"Connected", later, "Connected", at, "AAAAAAAAAAE=", int64(2)}))
	session.Close()
	session.Close()
	g.Expect(state()).To(Equal([]any{"Disconnected", later, "Disconnected", later, "AAAAAAAAAAE=", int64(2)}))
}

func TestTakeover(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	older, dropped := h.connect(t, "d1")
	_, newerDropped := h.connect(t, "d1")
	g.Expect(dropped).To(Receive(Equal(store.DropTakenOver)))
	older.Close()
	twin, err := h.Twin(store.ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(twin["connectionState"]).To(Equal("Connected"), "the older session's end is not the newer one's")
	g.Expect(newerDropped).NotTo(Receive())
}

func TestDrops(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		change func(h *hub) error
		reason store.DropReason // empty when the session goes on
	}{
		{"deleted", func(h *hub) error { return h.DeleteIdentity(store.ID{Device: "d1"}, "*") }, store.DropDeleted},
		{"disabled", func(h *hub) error {
			_, err := h.PutIdentity(store.ID{Device: "d1"}, "*", []byte(`{"status":"disabled"}`))
			return err
		}, store.DropDisabled},
		{"keys minted anew", func(h *hub) error {
			_, err := h.PutIdentity(store.ID{Device: "d1"}, "*", []byte(`{}`))
			return err
		}, store.DropKeyChanged},
		{"same keys", func(h *hub) error {
			identity, err := h.Identity(store.ID{Device: "d1"})
			if err != nil {
				return err
			}
			body, err := json.Marshal(identity.Document)
			if err != nil {
				return err
			}
			_, err = h.PutIdentity(store.ID{Device: "d1"}, "*", body)
			return err
		}, ""},
		{"another device", func(h *hub) error { return h.DeleteIdentity(store.ID{Device: "d2"}, "*") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			h := newHub(t, "d1", "d2")
			_, dropped := h.connect(t, "d1")
			g.Expect(tt.change(h)).To(Succeed())
			if tt.reason == "" {
				g.Expect(dropped).NotTo(Receive())
				return
			}
			g.Expect(dropped).To(Receive(Equal(tt.reason)))
			if tt.reason != store.DropDeleted {
				twin, err := h.Twin(store.ID{Device: "d1"})
				g.Expect(err).NotTo(HaveOccurred())
				g.Expect(twin["connectionState"]).To(Equal("Disconnected"))
			}
		})
	}
}

func TestCredentialOfAnEarlierDevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	key, err := h.Key(store.ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	credential, err := h.AuthenticateDevice("d1", h.deviceToken(t, "d1", host))
	g.Expect(err).NotTo(HaveOccurred())
	session, err := h.Connect(credential, func(store.DropReason) {})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(h.DeleteIdentity(store.ID{Device: "d1"}, "*")).To(Succeed())
	// Made again with the same keys, it is another device all the same.
	_, err = h.PutIdentity(store.ID{Device: "d1"}, "", fmt.Appendf(nil,
		`{"authentication":{"symmetricKey":{"primaryKey":%q,"secondaryKey":%q}}}`, key, key))
	g.Expect(err).NotTo(HaveOccurred())

	_, err = h.Connect(credential, func(store.DropReason) {})
	g.Expect(refusal(t, err).Status).To(Equal(http.StatusUnauthorized))
	_, err = session.Twin()
	g.Expect(refusal(t, err).Status).To(Equal(http.StatusNotFound))
	_, err = session.PatchReported([]byte(`{"a":1}`), nil)
	g.Expect(refusal(t, err).Status).To(Equal(http.StatusNotFound))
}

func TestReportedPatch(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	session, _ := h.connect(t, "d1")
	g.Expect(session.PatchReported([]byte(`{"connectivity":"cellular","a":{"b":1}}`), nil)).To(Equal(int64(2)))
	current, stale := int64(2), int64(1)
	_, err := session.PatchReported([]byte(`{"a":null}`), &stale)
	g.Expect(refusal(t, err).Status).To(Equal(http.StatusPreconditionFailed))
	g.Expect(session.PatchReported([]byte(`{"a":null}`), &current)).To(Equal(int64(3)))
	g.Expect(session.PatchReported([]byte(`{}`), nil)).To(Equal(int64(4)), "even a patch that changes nothing counts")

	g.Expect(session.Twin()).To(MatchJSON(`{"desired":{"$version":1},"reported":{"connectivity":"cellular","$version":4}}`))
	twin, err := h.Twin(store.ID{Device: "d1"})
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(twin["etag"]).To(Equal("AAAAAAAAAAE="), "a device's write leaves the etag alone")
	g.Expect(twin["version"]).To(Equal(int64(5)), "but moves the version")
	g.Expect(json.Marshal(twin["properties"].(map[string]any)["reported"])).To(MatchJSON(`{
		"connectivity": "cellular",
		"$metadata": {"$lastUpdated":"2026-11-20T10:00:00Z", "connectivity": {"$lastUpdated":"2026-11-20T10:00:00Z"}},
		"$version": 4
	}`), "reported properties have no $lastUpdatedVersion")
}

func TestRefusedReportedPatches(t *testing.T) {
	t.Parallel()
	h := newHub(t, "d1")
	session, _ := h.connect(t, "d1")
	large := func(n int) string {
		text := "{"
		for i := range n {
			text += fmt.Sprintf(`"k%03d":"%04092d",`, i, 0)
		}
		return text + `"z":null}`
	}
	for patch, want := range map[string]store.Error{
		``:               {Status: 400, Number: 400006, Code: "IotHubFormatError"},
		`[]`:             {Status: 400, Number: 400006, Code: "IotHubFormatError"},
		`null`:           {Status: 400, Number: 400006, Code: "IotHubFormatError"},
		`{"$version":1}`: {Status: 400, Number: 400004, Code: "ArgumentInvalid"},
		`{"a":[null]}`:   {Status: 400, Number: 400004, Code: "ArgumentInvalid"},
		large(9):         {Status: 403, Number: 403100, Code: "DeviceModelMaxPropertiesExceeded"},
	} {
		g := NewWithT(t)
		_, err := session.PatchReported([]byte(patch), nil)
		refused := refusal(t, err)
		g.Expect(refused.Text).NotTo(BeEmpty())
		if refused.Status == http.StatusForbidden {
			g.Expect(refused.Text).To(Equal("'Properties.Reported' size should be less than 32768 bytes."))
		}
		refused.Text = ""
		g.Expect(*refused).To(Equal(want))
	}
	_, err := session.PatchReported([]byte(large(8)), nil)
	NewWithT(t).Expect(err).NotTo(HaveOccurred(), "8 times 4 + 4092 is exactly the limit")
}

type notice struct {
	version int64
	patch   map[string]any
}

func TestDesiredNotifications(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1", "d2")
	session, _ := h.connect(t, "d1")
	notices := make(chan notice, 10)
	session.SubscribeDesired(func(version int64, patch map[string]any) {
		_, err := h.Twin(store.ID{Device: "d1"}) // a subscriber may call the store
		g.Expect(err).NotTo(HaveOccurred())
		notices <- notice{version, patch}
	})
	patch := func(deviceID, body string) {
		_, err := h.PatchTwin(store.ID{Device: deviceID}, "", []byte(body))
		g.Expect(err).NotTo(HaveOccurred())
	}
	patch("d1", `{"tags":{"a":1}}`)
	patch("d2", `{"properties":{"desired":{"a":1}}}`)
	g.Expect(notices).NotTo(Receive(), "neither tags nor another device's properties")

	patch("d1", `{"properties":{"desired":{"a":1,"b":null,"$version":77,"$metadata":{}}}}`)
	g.Expect(notices).To(Receive(Equal(notice{2, map[string]any{"a": json.Number("1"), "b": nil}})))
	_, err := h.ReplaceTwin(store.ID{Device: "d1"}, "", []byte(`{"tags":{"a":1}}`))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(notices).To(Receive(Equal(notice{3, map[string]any{}})))

	_, err = h.PatchTwin(store.ID{Device: "d1"}, "", []byte(`{"properties":{"desired":{"a.b":1}}}`))
	g.Expect(err).To(HaveOccurred())
	session.SubscribeDesired(nil)
	patch("d1", `{"properties":{"desired":{"a":2}}}`)
	g.Expect(notices).NotTo(Receive())
}

func TestNotificationsComeInOrder(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	session, _ := h.connect(t, "d1")
	const writers, writes = 8, 25
	seen := make(chan int64, writers*writes)
	session.SubscribeDesired(func(version int64, _ map[string]any) { seen <- version })
	var group sync.WaitGroup
	for range writers {
		group.Go(func() {
			for range writes {
				if _, err := h.PatchTwin(store.ID{Device: "d1"}, "", []byte(`{"properties":{"desired":{"a":1}}}`)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	for want := int64(2); want < 2+writers*writes; want++ {
		g.Eventually(seen).Should(Receive(Equal(want)))
	}
}

func TestNotificationsComeOneAtATime(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	session, _ := h.connect(t, "d1")
	entered, leave := make(chan int64, 10), make(chan struct{})
	session.SubscribeDesired(func(version int64, _ map[string]any) {
		entered <- version
		<-leave
	})
	write := func() error {
		_, err := h.PatchTwin(store.ID{Device: "d1"}, "", []byte(`{"properties":{"desired":{"a":1}}}`))
		return err
	}
	first := make(chan error, 1)
	go func() { first <- write() }()
	g.Eventually(entered).Should(Receive(Equal(int64(2))))
	g.Expect(write()).To(Succeed(), "another writer does not wait for a slow subscriber")
	g.Expect(entered).NotTo(Receive())
	close(leave)
	g.Eventually(first).Should(Receive(BeNil()))
	g.Expect(entered).To(Receive(Equal(int64(3))))
}
