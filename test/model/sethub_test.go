package model_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/test/model/reference"
)

// trap is what happens to a change of a twin that the sets make.
type trap struct {
	// kind is one of the constants below.
	kind   string
	status int
	// before is done before the change is handed on.
	before func(device string)
	// sprung is closed when a change has come, opened when it may go on.
	sprung, opened chan struct{}
}

// The kinds of traps. What is held is dropped when its manager stops, what is queued is not.
const (
	trapHold   = "hold"
	trapQueue  = "queue"
	trapDrop   = "lose the answer"
	trapStatus = "refuse"
	trapRace   = "another writer is faster"
)

// traps wait for the next changes, one for each.
type traps struct {
	mu      sync.Mutex
	waiting []*trap
	sprung  []*trap
}

func (t *traps) set(one *trap) *trap {
	one.sprung, one.opened = make(chan struct{}), make(chan struct{})
	t.mu.Lock()
	defer t.mu.Unlock()
	t.waiting = append(t.waiting, one)
	return one
}

func (t *traps) spring() *trap {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.waiting) == 0 {
		return &trap{}
	}
	next := t.waiting[0]
	t.waiting = t.waiting[1:]
	t.sprung = append(t.sprung, next)
	close(next.sprung)
	return next
}

// openAll ends all traps.
func (t *traps) openAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, one := range t.sprung {
		close(one.opened)
	}
	t.waiting, t.sprung = nil, nil
}

// patch is what becomes of a change of a twin by a manager. Each is handed on alone, so that it is
// judged by what the hub holds when it arrives.
func (w *setWorld) patch(answer http.ResponseWriter, req *http.Request, hub http.Handler) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	ofSets := strings.Contains(req.Header.Get("Authorization"), "skn="+setsPolicy)
	device := strings.TrimPrefix(req.URL.Path, "/twins/")
	caught := &trap{}
	if ofSets {
		caught = w.traps.spring()
	}
	switch caught.kind {
	case trapHold:
		select {
		case <-caught.opened:
		case <-req.Context().Done():
			panic(http.ErrAbortHandler)
		}
	case trapQueue:
		<-caught.opened
	case trapStatus:
		answer.WriteHeader(caught.status)
		return
	case trapRace:
		caught.before(device)
	}
	given := w.handOn(req, body, hub, ofSets, device, caught.kind == trapQueue)
	if caught.kind == trapDrop || req.Context().Err() != nil {
		panic(http.ErrAbortHandler)
	}
	maps.Copy(answer.Header(), given.Header())
	answer.WriteHeader(given.Code)
	_, _ = answer.Write(given.Body.Bytes()) // the manager may have gone
}

// handOn has the hub make a change, and the rules judge it. What is queued arrives although its manager has
// gone.
func (w *setWorld) handOn(req *http.Request, body []byte, hub http.Handler, ofSets bool, device string, queued bool) *httptest.ResponseRecorder {
	w.hubEvents.Lock()
	defer w.hubEvents.Unlock()
	late := req.Context().Err() != nil
	if late && !queued {
		panic(http.ErrAbortHandler)
	}
	alone := req.Clone(context.WithoutCancel(req.Context()))
	alone.Body = io.NopCloser(bytes.NewReader(body))
	before := w.onHub(device)
	answer := httptest.NewRecorder()
	hub.ServeHTTP(answer, alone)
	after := w.onHub(device)
	switch {
	case answer.Code != http.StatusOK:
	case ofSets:
		w.tell(fmt.Sprintf("      the sets write to %s (late %t): %s", device, late, body))
		if err := w.fleet.Wrote(reference.Write{Device: device, Before: before, After: after, Late: late}); err != nil {
			w.wrong = append(w.wrong, err)
		}
	default:
		w.fleet.Changed(device, before, after)
	}
	return answer
}

// onHub is what the hub holds of a twin. It is for other goroutines than the sequence's as well.
func (w *setWorld) onHub(device string) reference.Leaves {
	leaves, _, err := readTwin(w.hub.TwinJSON(device))
	if err != nil {
		return reference.Leaves{}
	}
	return leaves
}

// writeAs changes a twin as another writer does.
func (w *setWorld) writeAs(device string, change reference.Patch) {
	w.hubEvents.Lock()
	defer w.hubEvents.Unlock()
	leaves, etag, err := readTwin(w.hub.TwinJSON(device))
	if err != nil {
		panic(err) // no device is ever deregistered
	}
	after := leaves.Apply(change)
	if status := w.replaceTwin(device, etag, after); status != http.StatusOK {
		panic(fmt.Sprintf("another writer got %d while nothing else was written", status))
	}
	w.fleet.Changed(device, leaves, after)
}

// report has a device take over what it is to hold, or refuse it by the conventions of IoT Plug and Play.
func (w *setWorld) report(device string) {
	w.hubEvents.Lock()
	defer w.hubEvents.Unlock()
	text, err := w.hub.TwinJSON(device)
	w.Expect(err).NotTo(HaveOccurred())
	var twin struct {
		Properties struct{ Desired map[string]any }
	}
	w.Expect(json.Unmarshal(text, &twin)).To(Succeed())
	desired := twin.Properties.Desired
	version := desired["$version"]
	delete(desired, "$version")
	delete(desired, "$metadata")
	if len(desired) == 0 {
		return
	}
	said := map[string]any{}
	for key, value := range desired {
		said[key] = value
		if w.refuses[device] {
			said[key] = map[string]any{"value": value, "ac": 400, "av": version}
		}
	}
	gone := map[string]any{}
	for key := range said {
		gone[key] = nil // what was said before, in another shape
	}
	for _, patch := range []map[string]any{gone, said} {
		text, err := json.Marshal(patch)
		w.Expect(err).NotTo(HaveOccurred())
		_, err = w.hub.Report(device, text)
		w.Expect(err).NotTo(HaveOccurred())
	}
	w.fleet.Report(device, w.onHub(device), !w.refuses[device])
}

// setConnected connects a device, which says nothing by itself, or has it leave.
func (w *setWorld) setConnected(device string, connected bool) {
	w.hubEvents.Lock()
	defer w.hubEvents.Unlock()
	if connected {
		w.connected[device] = w.dial(device)
	} else {
		w.connected[device].Disconnect(0)
		delete(w.connected, device)
	}
	w.fleet.Connect(device, connected)
	want := map[bool]string{true: "Connected", false: "Disconnected"}[connected]
	w.Eventually(func() string {
		text, err := w.hub.TwinJSON(device)
		w.Expect(err).NotTo(HaveOccurred())
		var twin struct{ ConnectionState string }
		w.Expect(json.Unmarshal(text, &twin)).To(Succeed())
		return twin.ConnectionState
	}, patience, poll).Should(Equal(want))
}

func (w *setWorld) dial(device string) paho.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(w.hub.CACertificatePEM())
	options := paho.NewClientOptions().AddBroker("ssl://" + w.hub.MQTTAddress()).SetClientID(device).SetAutoReconnect(false).
		SetUsername(w.hub.HostName() + "/" + device + "/?api-version=2021-04-12").SetPassword(w.deviceToken(device)).
		SetTLSConfig(&tls.Config{RootCAs: roots, ServerName: "localhost", MinVersion: tls.VersionTLS12})
	connection := paho.NewClient(options)
	connecting := connection.Connect()
	w.Expect(connecting.WaitTimeout(patience)).To(BeTrue())
	w.Expect(connecting.Error()).NotTo(HaveOccurred())
	return connection
}

// deviceToken is a shared access signature of a device.
func (w *setWorld) deviceToken(device string) string {
	text, err := w.hub.DeviceConnectionString(device)
	w.Expect(err).NotTo(HaveOccurred())
	_, encoded, _ := strings.Cut(text, "SharedAccessKey=")
	key, err := base64.StdEncoding.DecodeString(encoded)
	w.Expect(err).NotTo(HaveOccurred())
	resource, expiry := url.QueryEscape(w.hub.HostName()+"/devices/"+device), time.Now().Add(time.Hour).Unix()
	mac := hmac.New(sha256.New, key)
	_, _ = fmt.Fprintf(mac, "%s\n%d", resource, expiry) // a hash never returns an error
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d", resource, url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))), expiry)
}
