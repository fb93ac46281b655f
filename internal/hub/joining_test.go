package hub

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// neighbours are sessions of one pool with one host, which answers them all alike.
type neighbours struct {
	*WithT
	t      *testing.T
	pool   *Pool
	cfg    Config
	answer atomic.Pointer[http.HandlerFunc]
}

func newNeighbours(t *testing.T, options PoolOptions) *neighbours {
	t.Helper()
	n := &neighbours{WithT: NewWithT(t), t: t, pool: NewPool(options)}
	n.answers(page(http.StatusOK, twinD1))
	n.cfg = pretend(t, func(w http.ResponseWriter, r *http.Request) { (*n.answer.Load())(w, r) })
	t.Cleanup(func() {
		for key := range n.pool.members {
			n.pool.Forget(key)
		}
	})
	return n
}

// ctx of a request that does not wait for long.
func (n *neighbours) ctx() context.Context {
	ctx, cancel := context.WithTimeout(n.t.Context(), 5*time.Second)
	n.t.Cleanup(cancel)
	return ctx
}

func (n *neighbours) answers(answer http.HandlerFunc) { n.answer.Store(&answer) }

// declare opens a session; key is its credential too.
func (n *neighbours) declare(key string, created int64, limits dispatch.Limits) *session {
	host, err := hostOf(n.cfg.ConnectionString)
	n.Expect(err).NotTo(HaveOccurred())
	return n.declareAs(key, "HostName="+host+";SharedAccessKeyName="+key+";SharedAccessKey="+testKey, created, limits)
}

func (n *neighbours) declareAs(key, connectionString string, created int64, limits dispatch.Limits) *session {
	cfg := n.cfg
	cfg.ConnectionString, cfg.Limits, cfg.Age = connectionString, limits, Age{Created: time.Unix(created, 0), UID: key}
	s, err := n.pool.Session(key, cfg)
	n.Expect(err).NotTo(HaveOccurred())
	own, ok := s.(*session)
	n.Expect(ok).To(BeTrue())
	return own
}

func (n *neighbours) prove(sessions ...*session) {
	for _, s := range sessions {
		_, err := s.GetTwin(n.ctx(), ID{Device: "d1"})
		n.Expect(err).NotTo(HaveOccurred())
		n.Expect(s.Proved()).To(BeTrue())
	}
}

func (n *neighbours) refuse(s *session) {
	n.answers(refusal(http.StatusUnauthorized, "IotHubUnauthorized", ""))
	_, err := s.GetTwin(n.ctx(), ID{Device: "d1"})
	n.Expect(ReasonOf(err)).To(Equal(ReasonUnauthorized))
	n.Expect(s.Proved()).To(BeFalse())
	n.answers(page(http.StatusOK, twinD1))
}

func reads(s *session) float64 { return s.Dispatcher().Rate(dispatch.Reads).PerSecond }

// TestTheEldestRulesTheHub and a later one is held to its own limits as well; one that has
// not proved its credential counts for nothing.
func TestTheEldestRulesTheHub(t *testing.T) {
	t.Parallel()
	n := newNeighbours(t, PoolOptions{Limits: dispatch.Limits{UpdatesPerSecond: 7}})
	tiny, half := dispatch.Limits{ReadsPerSecond: 1, DailyMessages: 10}, dispatch.Limits{ReadsPerSecond: 50}
	eldest := n.declare("eldest", 1, dispatch.Limits{ReadsPerSecond: 80})
	n.prove(eldest)
	n.Expect(reads(eldest)).To(BeEquivalentTo(80))
	n.Expect(eldest.Dispatcher().Rate(dispatch.Updates).PerSecond).To(BeEquivalentTo(7), "the pool's own limits hold in any case")

	older := n.declare("older, without a credential", 0, tiny)
	later := n.declare("later", 2, tiny)
	n.Expect(reads(eldest)).To(BeEquivalentTo(80))
	n.prove(later)
	n.Expect(reads(eldest)).To(BeEquivalentTo(80))
	n.Expect(reads(later)).To(BeEquivalentTo(1))
	n.Expect(later.Dispatcher().Messages().Limit).To(BeEquivalentTo(10))
	for range 9 {
		n.prove(eldest)
	}
	n.Expect(later.Dispatcher().Messages().Used).To(BeEquivalentTo(1), "the others' are not its own")
	n.Expect(eldest.Dispatcher().Messages().Used).To(BeEquivalentTo(11), "all of the hub's are the eldest's to keep within")
	n.declare("later", 2, dispatch.Limits{ReadsPerSecond: 1000})
	n.Expect(reads(later)).To(BeEquivalentTo(80), "it cannot have more than the hub gives")

	n.declare("later", 2, half)
	n.pool.Forget("eldest")
	n.Expect(reads(later)).To(BeEquivalentTo(50), "the rule has passed on")
	n.prove(older)
	n.Expect(reads(later)).To(BeEquivalentTo(1))
	n.refuse(older)
	n.Expect(reads(later)).To(BeEquivalentTo(50))
	twin := n.declare("a twin of the later one", 2, tiny)
	n.prove(twin)
	n.Expect(reads(later)).To(BeEquivalentTo(1), "the smaller UID is the elder")
}

// TestARestoredCountIsTheRulersOwn: what a later one was told of a day is not the hub's.
func TestARestoredCountIsTheRulersOwn(t *testing.T) {
	t.Parallel()
	n := newNeighbours(t, PoolOptions{})
	later := n.declare("later", 2, dispatch.Limits{DailyMessages: 1_000_000})
	n.prove(later)
	today := later.Dispatcher().Messages().Day
	later.Dispatcher().Restore(today, 50)
	n.Expect(later.Dispatcher().Messages().Used).To(BeEquivalentTo(450_000))
	eldest := n.declare("eldest", 1, dispatch.Limits{DailyMessages: 1000})
	n.prove(eldest)
	n.Expect(eldest.Dispatcher().Messages().Used).To(BeEquivalentTo(2), "it is elder, and proved itself later")
	eldest.Dispatcher().Restore(today, 20)
	n.Expect(eldest.Dispatcher().Messages().Used).To(BeNumerically("~", 150, 2))
	rotated := n.declareAs("eldest", another(eldest), 1, dispatch.Limits{DailyMessages: 1000})
	n.prove(rotated)
	n.Expect(rotated.Dispatcher().Messages().Used).To(BeNumerically("~", 150, 4), "another credential goes on with the count")
}

// another is a second connection string of a session's host.
func another(s *session) string {
	return "HostName=" + s.host + ";SharedAccessKeyName=second;SharedAccessKey=" + testKey
}

// TestWhatWaitsGoesAlong when its session leaves the host's dispatcher, and comes back.
func TestWhatWaitsGoesAlong(t *testing.T) {
	t.Parallel()
	n := newNeighbours(t, PoolOptions{MaxInFlight: 1})
	s, other := n.declare("one", 1, dispatch.Limits{}), n.declare("two", 2, dispatch.Limits{})
	n.prove(s, other)
	woken := make(chan string, 10)
	ask := func(s *session, key string) *dispatch.Permit {
		grant, _ := s.Dispatcher().Admit(dispatch.Request{Key: key, Need: dispatch.ReadNeed, Wake: func(int) { woken <- key }})
		return grant
	}
	held := ask(other, "held")
	n.Expect(held).NotTo(BeNil())
	for _, key := range []string{"a", "b", "c"} {
		n.Expect(ask(s, key)).To(BeNil())
	}
	n.Expect(s.Dispatcher().Backlog().Parked).To(Equal(3))
	n.Expect(other.Dispatcher().Backlog().Parked).To(BeZero(), "they are not the other one's")
	n.refuse(s)
	n.Expect(woken).To(Receive(Equal("a")), "there is a place at its own dispatcher")
	a := ask(s, "a")
	n.Expect(a).NotTo(BeNil())
	n.prove(s)
	a.Done()
	held.Done()
	n.Expect(woken).To(Receive(Equal("b")))
	n.pool.Withdraw("c")
	ask(s, "b").Done()
	n.Expect(woken).To(BeEmpty())
	d := n.pool.shared[s.host]
	n.pool.Forget("two")
	n.refuse(s)
	n.Expect(n.pool.shared[s.host]).To(BeIdenticalTo(d), "it comes back to the rate that it left")
	n.prove(s)
	n.Expect(s.Dispatcher().Backlog()).To(Equal(dispatch.Backlog{}))
}

// TestAnExchangedCredentialKeepsTheOthersPlace until something is heard of it.
func TestAnExchangedCredentialKeepsTheOthersPlace(t *testing.T) {
	t.Parallel()
	n := newNeighbours(t, PoolOptions{})
	before := n.declare("one", 1, dispatch.Limits{ReadsPerSecond: 80})
	later := n.declare("two", 2, dispatch.Limits{ReadsPerSecond: 10})
	n.prove(before, later)
	after := n.declareAs("one", another(before), 1, dispatch.Limits{ReadsPerSecond: 80})
	n.Expect(after.Proved()).To(BeFalse())
	n.Expect(reads(before)).To(BeEquivalentTo(80), "those who use the hub do so with the one before it")
	n.answers(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	n.Expect(after.Probe(t.Context())).NotTo(Succeed())
	n.Expect(reads(before)).To(BeEquivalentTo(80), "no answer says nothing")
	n.answers(page(http.StatusOK, twinD1))
	n.prove(after)
	n.Expect(reads(after)).To(BeEquivalentTo(80))
	wrong := n.declareAs("one", "HostName="+before.host+";SharedAccessKeyName=third;SharedAccessKey="+testKey, 1, dispatch.Limits{ReadsPerSecond: 80})
	n.refuse(wrong)
	n.Expect(reads(later)).To(BeEquivalentTo(10), "the rule has passed on")
	d := n.pool.shared[before.host]
	n.Expect(reads(after)).To(BeEquivalentTo(10))
	n.pool.Forget("two")
	n.pool.Forget("one")
	n.Expect(d.InUse()).To(BeFalse())
}

// TestOneWhoChangesCredentialsHasOneLane: the dispatcher to prove itself is its key's.
func TestOneWhoChangesCredentialsHasOneLane(t *testing.T) {
	t.Parallel()
	n := newNeighbours(t, PoolOptions{})
	first := n.declare("one", 1, dispatch.Limits{ReadsPerSecond: 0.001})
	n.answers(refusal(http.StatusUnauthorized, "IotHubUnauthorized", ""))
	n.Expect(ReasonOf(first.Probe(t.Context()))).To(Equal(ReasonUnauthorized))
	second := n.declareAs("one", another(first), 1, dispatch.Limits{ReadsPerSecond: 0.001})
	ctx := n.ctx()
	n.Expect(ReasonOf(second.Probe(ctx))).To(Equal(ReasonThrottled), "it has the rate of one")
	n.Expect(n.pool.shared).To(BeEmpty(), "there is no dispatcher of a host that no session has proved itself to")
}
