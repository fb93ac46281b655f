package controllers_test

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// soon is the time in which a credential that was mended has to be taken up: far
// less than any interval at which something would be looked at anyway.
const soon = 10 * time.Second

// keyring stands in front of a hub as a shared access policy whose keys can be
// rolled: it takes tokens of its own two keys, and goes to the hub with the
// policy's key there.
type keyring struct {
	hubKey string

	mu                 sync.Mutex
	primary, secondary string
	seen               []string // the key of each request, "" for one of neither
}

func newKey() string {
	var key [32]byte
	_, _ = rand.Read(key[:])
	return base64.StdEncoding.EncodeToString(key[:])
}

// signed tells whether a token was signed with a key.
func signed(token url.Values, key string) bool {
	return token.Get("sig") == signature(token.Get("sr"), token.Get("se"), key)
}

func signature(resource, expiry, key string) string {
	secret, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return ""
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(url.QueryEscape(resource) + "\n" + expiry))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil))
}

// admit is called with each request. It puts the hub's own key in place of one of
// the ring's, or says no.
func (k *keyring) admit(r *http.Request) bool {
	_, fields, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	token, err := url.ParseQuery(fields)
	if err != nil {
		return false
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, key := range []string{k.primary, k.secondary} {
		if !signed(token, key) {
			continue
		}
		k.seen = append(k.seen, key)
		token.Set("sig", signature(token.Get("sr"), token.Get("se"), k.hubKey))
		r.Header.Set("Authorization", fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%s&skn=%s",
			url.QueryEscape(token.Get("sr")), url.QueryEscape(token.Get("sig")), token.Get("se"), token.Get("skn")))
		return true
	}
	k.seen = append(k.seen, "")
	return false
}

// used are the keys of the requests since the n-th, each once.
func (k *keyring) used(n int) []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	out := slices.Clone(k.seen[n:])
	slices.Sort(out)
	return slices.Compact(out)
}

func (k *keyring) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.seen)
}

// roll makes a new primary key, as an administrator of the hub does.
func (k *keyring) roll() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.primary = newKey()
}

// TestACredentialIsRolledOver: a key that was rolled at the hub, the other one in
// the Secret, a Secret that goes, and one that comes back.
func TestACredentialIsRolledOver(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ring := &keyring{hubKey: secretPart.FindStringSubmatch(w.credential("service"))[1], primary: newKey(), secondary: newKey()}
	first := ring.primary
	tapped := w.tapWith(func(answer http.ResponseWriter, request *http.Request) bool {
		if ring.admit(request) {
			return true
		}
		answer.Header().Set("iothub-errorcode", "IotHubUnauthorizedAccess")
		answer.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(answer, `{"Message":"ErrorCode:IotHubUnauthorizedAccess;Unauthorized","ExceptionMessage":""}`)
		return false
	})
	with := func(key string) string {
		return fmt.Sprintf("HostName=%s;SharedAccessKeyName=service;SharedAccessKey=%s", tapped.host, key)
	}
	secret := w.createSecret("hub", with(ring.primary))
	conn := w.connection("hub")
	conn.Spec.CABundle = tapped.ca
	w.create(conn)
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, "")
	w.create(obj)
	w.awaitReady(obj)
	w.awaitReady(conn)
	w.Expect(ring.used(0)).To(Equal([]string{first}))

	ring.roll()
	ready := w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonUnauthorized)
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotReady)
	w.Expect(ready.Message).To(ContainSubstring("the credential was refused"))
	w.edit(secret, func() { secret.Data["connectionString"] = []byte(with(ring.secondary)) })
	w.readyWithin(soon, obj)
	w.readyWithin(soon, conn)
	before := 0
	w.Eventually(func() []string {
		before = ring.count()
		w.awaitReadBacks(3)
		return ring.used(before)
	}, patience).Should(Equal([]string{ring.secondary}), "the session of the old key is gone, with what waited for its rate")

	w.delete(secret)
	gone := w.await(conn, metav1.ConditionFalse, v1alpha1.ReasonSecretNotFound)
	w.Expect(gone.Message).To(ContainSubstring(`Secret "hub" of spec.auth.connectionStringSecretRef does not exist`))
	w.await(obj, metav1.ConditionFalse, v1alpha1.ReasonHubNotReady)
	w.quiet(ring.count)

	secret = w.createSecret("hub", with(ring.secondary))
	w.readyWithin(soon, conn)
	w.readyWithin(soon, obj)
	before = ring.count()
	w.edit(secret, func() { secret.Data["connectionString"] = []byte(with(ring.primary)) })
	w.Eventually(func() []string { return ring.used(before) }, soon).Should(ContainElement(ring.primary))
	w.readyWithin(soon, obj)
}

// readyWithin waits for an object no longer than so.
func (w *world) readyWithin(limit time.Duration, obj kstatus.Object) {
	w.Helper()
	w.Eventually(func() bool {
		ready := w.condition(obj, v1alpha1.ConditionReady)
		return ready != nil && ready.Status == metav1.ConditionTrue
	}, limit, "20ms").Should(BeTrue())
}

// quiet checks that for a second the hub is not asked, nothing is written but
// events that were on their way, and the Secret is not read over and over. The
// test's managers look again five times a second.
func (w *world) quiet(hubRequests func() int) {
	w.Helper()
	reads := func() int {
		n := 0
		for _, r := range w.requests() {
			if r.ObjectRef.Resource == "secrets" && r.Verb == "get" {
				n++
			}
		}
		return n
	}
	writes := func() []string {
		return slices.DeleteFunc(w.writes(), func(write string) bool { return strings.Contains(write, " events ") })
	}
	asked, written, read := hubRequests(), writes(), reads()
	w.Consistently(func(g Gomega) {
		g.Expect(hubRequests()).To(Equal(asked))
		g.Expect(writes()).To(Equal(written))
		g.Expect(reads()).To(BeNumerically("<=", read+10))
	}, "1s", "100ms").Should(Succeed())
}
