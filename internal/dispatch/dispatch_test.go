package dispatch

import (
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"go.uber.org/goleak"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// noon is far from the end of a day.
var noon = time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)

// oneAtOnce is a rate of twin operations, for a second, at which there is one at once and
// the next one after nextOne.
const (
	oneAtOnce = 1 / twinWindow
	nextOne   = time.Duration(twinWindow * 1e9)
)

// yard is a dispatcher by a clock of its own, and who was woken.
type yard struct {
	*WithT
	*Dispatcher
	*Share
	now   *clocktesting.FakeClock
	woken chan string
}

// byHand is a clock that calls nothing back: what is due happens when a test says so,
// and not beside it.
type byHand struct{ *clocktesting.FakeClock }

func (c byHand) AfterFunc(d time.Duration, _ func()) clock.Timer { return c.NewTimer(d) }

// newYard goes on when time passes by after.
func newYard(t *testing.T, limits Limits, most int) *yard {
	t.Helper()
	now := clocktesting.NewFakeClock(noon)
	return newYardBy(t, now, byHand{now}, limits, most)
}

// newYardByItself goes on beside the test, when its clock steps.
func newYardByItself(t *testing.T, limits Limits, most int) *yard {
	t.Helper()
	now := clocktesting.NewFakeClock(noon)
	return newYardBy(t, now, now, limits, most)
}

func newYardBy(t *testing.T, now *clocktesting.FakeClock, by clock.WithDelayedExecution, limits Limits, most int) *yard {
	t.Helper()
	d := New(Options{Limits: limits, MaxInFlight: most, Clock: by})
	y := &yard{WithT: NewWithT(t), now: now, woken: make(chan string, 1000), Dispatcher: d, Share: d.Share(limits)}
	y.Rule(y.Share)
	return y
}

// after lets time pass, and whatever is due happen.
func (y *yard) after(d time.Duration) {
	y.now.Step(d)
	y.tick()
}

func (y *yard) Forget(key string) { y.Dispatcher.Forget(key) }

func (y *yard) ask(key string, priority int, need Need) *Permit {
	granted, ok := y.Admit(Request{Key: key, Priority: priority, Need: need, Wake: func(p int) {
		y.woken <- fmt.Sprintf("%s %d", key, p)
	}})
	if ok != (granted != nil) {
		panic("a grant is there, or it is not")
	}
	return granted
}

func (y *yard) mustAsk(key string, need Need) *Permit {
	granted := y.ask(key, 0, need)
	y.Expect(granted).NotTo(BeNil(), key)
	return granted
}

// spend takes all tokens of a class.
func (y *yard) spend(class Class) {
	y.mu.Lock()
	defer y.mu.Unlock()
	for y.buckets[class].has(1, y.now.Now()) {
		y.buckets[class].take(1)
	}
}

func TestATurnIsHadAtOnceWhileThereIsRoom(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 2 * oneAtOnce, UpdatesPerSecond: oneAtOnce}, 0)
	first, second := y.mustAsk("a", WriteNeed), y.mustAsk("b", ReadNeed)
	y.Expect(first.Has(Updates)).To(BeTrue())
	y.Expect(second.Has(Updates)).To(BeFalse())
	y.Expect(y.ask("c", 0, ReadNeed)).To(BeNil(), "both reads are taken")
	y.Expect(y.ask("c", 0, ReadNeed)).To(BeNil())
	y.Expect(y.Backlog()).To(Equal(Backlog{Parked: 1, EndsIn: 1250 * time.Millisecond}))
	first.Done()
	y.Expect(y.woken).To(Receive(Equal("c 0")), "what was not used is given back")
	granted := y.ask("c", 0, ReadNeed)
	y.Expect(granted).NotTo(BeNil())
	first.Done()
	y.Expect(y.snapshot().inFlight).To(Equal(2), "a grant is given back once")
	second.Done()
	granted.Done()
	var none *Permit
	none.Done()
	y.after(nextOne)
	y.Expect(y.Idle()).To(BeTrue())
	y.Expect(y.woken).To(BeEmpty())
}

func TestThePriorityCountsAndThenTheAge(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 1)
	held := y.mustAsk("held", WriteNeed)
	for i, priority := range []int{-100, 0, 60, 60, 0} {
		y.Expect(y.ask(fmt.Sprint(i), priority, WriteNeed)).To(BeNil())
	}
	y.Expect(y.ask("0", 60, ReadNeed)).To(BeNil(), "it becomes as urgent as the third and stays older; its need stays")
	y.Expect(y.ask("4", 100, WriteNeed)).To(BeNil())
	y.Expect(y.ask("4", 0, ReadNeed)).To(BeNil(), "it stays as urgent as it was")
	for _, want := range []string{"4 100", "0 60", "2 60", "3 60", "1 0"} {
		held.Done()
		y.Expect(y.woken).To(Receive(Equal(want)))
		held = y.mustAsk(want[:1], WriteNeed)
		y.Expect(held.Has(Updates)).To(BeTrue())
	}
	held.Done()
	y.Expect(y.woken).To(BeEmpty())
}

func TestWhoOnlyReadsDoesNotWaitForAnUpdate(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 10, UpdatesPerSecond: oneAtOnce}, 0)
	y.mustAsk("first", WriteNeed)
	y.Expect(y.ask("writes", 100, WriteNeed)).To(BeNil())
	y.mustAsk("reads", ReadNeed)
	y.after(nextOne)
	y.Expect(y.woken).To(Receive(Equal("writes 100")))
}

func TestAWokenGrantWaitsAndExpires(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 1)
	held := y.mustAsk("held", ReadNeed)
	y.Expect(y.ask("a", 0, WriteNeed)).To(BeNil())
	y.Expect(y.ask("b", 0, WriteNeed)).To(BeNil())
	held.Done()
	y.Expect(y.woken).To(Receive(Equal("a 0")))
	y.Expect(y.Backlog().Parked).To(Equal(1), "who was woken does not wait any more")
	y.after(pickUp - time.Millisecond)
	y.Expect(y.woken).To(BeEmpty())
	y.after(time.Millisecond)
	y.Expect(y.woken).To(Receive(Equal("b 0")), "a did not come")
	late := y.ask("a", 0, ReadNeed)
	y.Expect(late).To(BeNil())
	granted := y.mustAsk("b", ReadNeed)
	y.after(time.Hour)
	y.Expect(granted.Has(Updates)).To(BeTrue(), "what was picked up does not expire")
	y.Expect(y.snapshot().Expired).To(BeEquivalentTo(1))
	granted.Done()
	y.Expect(y.woken).To(Receive(Equal("a 0")))
	y.Forget("a")
	y.after(time.Second)
	y.Expect(y.Idle()).To(BeTrue())
}

func TestWhoNeedsMoreThanWasGrantedAsksAnewAtItsAge(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 10, UpdatesPerSecond: oneAtOnce}, 1)
	held := y.mustAsk("held", WriteNeed)
	y.Expect(held.use(Updates)).To(BeTrue())
	y.Expect(y.ask("old", 0, ReadNeed)).To(BeNil())
	y.Expect(y.ask("new", 0, WriteNeed)).To(BeNil())
	held.Done()
	y.Expect(y.woken).To(Receive(Equal("old 0")))
	y.Expect(y.ask("old", 0, WriteNeed)).To(BeNil(), "there is no update yet")
	y.after(nextOne)
	y.Expect(y.woken).To(Receive(Equal("old 0")))
	y.mustAsk("old", WriteNeed)
}

func TestWhoIsGoneGivesItsPlaceBack(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 1)
	held := y.mustAsk("held", ReadNeed)
	for _, key := range []string{"a", "b", "c"} {
		y.Expect(y.ask(key, 0, ReadNeed)).To(BeNil())
	}
	y.Forget("b")
	y.Forget("absent")
	held.Done()
	y.Expect(y.woken).To(Receive(Equal("a 0")))
	y.Forget("a")
	y.Expect(y.woken).To(Receive(Equal("c 0")))
	y.Drain()
	y.Expect(y.snapshot().inFlight).To(BeZero())
	y.mustAsk("d", ReadNeed)
}

// TestAHubThatHangsHoldsNoMoreThanItsPlaces: the bound is the smaller one of what the
// limits and the options allow.
func TestAHubThatHangsHoldsNoMoreThanItsPlaces(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		updates    float64
		most, want int
	}{
		"few updates":   {updates: 1, want: 4},
		"S1 by half":    {updates: 25, want: 5},
		"S1":            {updates: 50, want: 10},
		"a bit more":    {updates: 51, want: 11},
		"few workers":   {updates: 250, most: 16, want: 16},
		"a worker only": {updates: 250, most: 1, want: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			y := newYard(t, Limits{ReadsPerSecond: 1000, UpdatesPerSecond: tt.updates}, tt.most)
			granted := 0
			for i := range 200 {
				if y.ask(fmt.Sprint(i), 0, ReadNeed) != nil {
					granted++
				}
			}
			y.Expect(granted).To(Equal(tt.want))
			y.after(time.Hour)
			y.Expect(y.woken).To(BeEmpty())
		})
	}
}

func TestTheBacklogEnds(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 40, UpdatesPerSecond: 20}, 5)
	y.spend(Reads)
	y.spend(Updates)
	y.Expect(y.Backlog()).To(Equal(Backlog{}))
	for i := range 100 {
		y.ask(fmt.Sprint(i), 0, WriteNeed)
	}
	y.Expect(y.Backlog()).To(Equal(Backlog{Parked: 100, EndsIn: 5 * time.Second}), "20 a second")
	for i := range 400 {
		y.ask(fmt.Sprint("r", i), 0, ReadNeed)
	}
	y.Expect(y.Backlog()).To(Equal(Backlog{Parked: 500, EndsIn: 12500 * time.Millisecond}), "500 reads at 40 a second")
	y.Answered(Answer{Class: Reads, Status: 429, RetryAfter: 20 * time.Second})
	y.Expect(y.Backlog().EndsIn).To(Equal(45*time.Second), "20 s of pause, and half the rate")
	y.SetLimits(Limits{ReadsPerSecond: 5, UpdatesPerSecond: 20})
	y.Expect(y.Backlog().EndsIn).To(Equal(220 * time.Second))
}

func TestTheBestOfThoseWhoCanGoOnIsFoundWhateverTheyNeed(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{}, 1)
	held := y.mustAsk("held", ReadNeed)
	for i := range 20 {
		need := []Need{ReadNeed, WriteNeed, {Updates: 1}, {Queries: 1}}[i%4]
		y.Expect(y.ask(fmt.Sprint(i), i%7, need)).To(BeNil())
	}
	for _, want := range []string{"6 6", "13 6", "5 5", "12 5", "19 5", "4 4", "11 4", "18 4"} {
		held.Done()
		y.Expect(y.woken).To(Receive(Equal(want)))
		var key string
		fmt.Sscan(want, &key)
		held = y.ask(key, 0, Need{})
	}
}

// TestTimePassesByTheClockAlone: no caller has to ask for what is due to happen.
func TestTimePassesByTheClockAlone(t *testing.T) {
	t.Parallel()
	y := newYardByItself(t, Limits{ReadsPerSecond: 1}, 1)
	y.mustAsk("first", ReadNeed).Done() // a read that was not used
	y.spend(Reads)
	for _, key := range []string{"a", "b", "c"} {
		y.Expect(y.ask(key, 0, ReadNeed)).To(BeNil())
	}
	y.now.Step(time.Second)
	y.Eventually(y.woken).Should(Receive(Equal("a 0")))
	y.now.Step(pickUp)
	y.Eventually(y.woken).Should(Receive(Equal("b 0")))
	y.fail(breakAfter)
	y.Forget("b")
	y.Expect(y.woken).To(BeEmpty())
	y.now.Step(minBreak)
	y.Eventually(y.woken).Should(Receive(Equal("c 0")))
	y.now.Step(pickUp)
	y.Eventually(func() int64 { return y.snapshot().Expired }).Should(BeEquivalentTo(2))
	y.Expect(y.now.HasWaiters()).To(BeFalse(), "nothing is due any more")
}

// TestACallBackThatNeverComesStopsNothing: the next one who does anything makes up for it.
func TestACallBackThatNeverComesStopsNothing(t *testing.T) {
	t.Parallel()
	y := newYard(t, Limits{ReadsPerSecond: 1}, 1) // its clock calls nothing back
	y.spend(Reads)
	y.Expect(y.ask("a", 0, ReadNeed)).To(BeNil())
	y.now.Step(time.Second)
	y.Expect(y.woken).To(BeEmpty())
	y.snapshot()
	y.Expect(y.ask("b", 0, ReadNeed)).To(BeNil())
	y.Expect(y.woken).To(Receive(Equal("a 0")))
}
