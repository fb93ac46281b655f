package readback

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

func TestTheMarkFollowsTheHub(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	start := time.Date(2026, 11, 24, 12, 0, 0, 0, time.UTC)
	ours := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC) // whatever our clock says
	at := func(seconds int) time.Time { return ours.Add(time.Duration(seconds) * time.Second) }
	m := &watermark{}
	g.Expect(m.usable()).To(BeFalse())
	m.swept(start, at(0), at(5))
	g.Expect(m.since()).To(Equal(start.Add(-5*time.Second-minOverlap)), "what was written while the sweep was read is not missed")
	m.delta(start.Add(time.Minute), at(60), at(61), 0, 1)
	g.Expect(m.since()).To(Equal(start.Add(59*time.Second - minOverlap)))
	m.delta(start.Add(time.Minute), at(71), at(72), 0, 1)
	g.Expect(m.since()).To(Equal(start.Add(70*time.Second-minOverlap)), "ten seconds later nothing older can show any more")
	m.delta(start.Add(time.Minute), at(500), at(501), 0, 1)
	g.Expect(m.since()).To(Equal(start.Add(time.Minute)), "the newest write is always asked for")
	m.delta(start, at(510), at(511), time.Minute, 1)
	g.Expect(m.newest).To(Equal(start.Add(time.Minute)), "it never goes back")
	g.Expect(m.overlap()).To(Equal(2*time.Minute), "twice as late as was seen")
	for range 20 {
		m.delta(start.Add(time.Minute), at(520), at(521), 0, 1)
	}
	g.Expect(m.overlap()).To(Equal(minOverlap))
	m.delta(start.Add(time.Minute), at(530), at(531), time.Hour, 1)
	g.Expect(m.overlap()).To(Equal(maxOverlap))

	// A hub that does not even show its newest write cannot tell what was written.
	for range maxSilent {
		g.Expect(m.usable()).To(BeTrue())
		m.delta(start, at(540), at(541), 0, 0)
	}
	g.Expect(m.usable()).To(BeFalse())
	m.swept(start.Add(-time.Hour), at(550), at(551))
	g.Expect(m.usable()).To(BeTrue())
	g.Expect(m.newest).To(Equal(start.Add(-time.Hour)), "the device that wrote last may have been deleted")
}

func TestJudge(t *testing.T) {
	t.Parallel()
	b := newFingerprints(nil, time.Now())
	now := moment(time.Hour)
	known := hub.IndexRow{ETag: "e5", DeviceETag: "d", Version: 9, ConnectionState: "Connected"}
	for name, tt := range map[string]struct {
		row  func(*hub.IndexRow)
		want verdict
	}{
		"the same":                        {func(*hub.IndexRow) {}, nothing},
		"newer":                           {func(s *hub.IndexRow) { s.Version, s.ETag = 10, "e6" }, moved},
		"late":                            {func(s *hub.IndexRow) { s.Version, s.ETag = 8, "e4" }, nothing},
		"late, or made again":             {func(s *hub.IndexRow) { s.Version, s.DeviceETag = 8, "" }, doubtful},
		"older, of another device":        {func(s *hub.IndexRow) { s.Version, s.DeviceETag = 2, "other" }, doubtful},
		"newer, of another device":        {func(s *hub.IndexRow) { s.Version, s.DeviceETag = 12, "other" }, moved},
		"as old, of another device":       {func(s *hub.IndexRow) { s.DeviceETag = "other" }, doubtful},
		"as old, with another etag":       {func(s *hub.IndexRow) { s.ETag = "e4" }, doubtful},
		"disconnected":                    {func(s *hub.IndexRow) { s.ConnectionState = "Disconnected" }, moved},
		"the same, without a device etag": {func(s *hub.IndexRow) { s.DeviceETag = "" }, nothing},
		"a row that was refuted":          {func(s *hub.IndexRow) { s.Version, s.DeviceETag = 20, "ghost" }, nothing},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			row := known
			tt.row(&row)
			e := &entry{known: b.fingerprint(known), learned: now - b.late + 1, refutedAt: now - b.late + 1}
			e.refuted = b.row(fingerprint{version: 20, etag: b.hash("e5"), device: b.hash("ghost"), connected: true})
			g.Expect(b.judge(e, b.fingerprint(row), now)).To(Equal(tt.want))
			g.Expect(b.judge(&entry{}, b.fingerprint(row), now)).To(Equal(moved), "nothing is known yet")
		})
	}
	g := NewWithT(t)
	gone := known
	gone.ConnectionState = "Disconnected"
	e := &entry{known: b.fingerprint(known), confirmed: now}
	g.Expect(b.judge(e, b.fingerprint(gone), now+moment(settleTime)-1)).To(Equal(doubtful), "the hub itself has just said otherwise")
	g.Expect(b.judge(e, b.fingerprint(gone), now+moment(settleTime))).To(Equal(moved))

	older := known
	older.Version, older.ETag = 8, "e4"
	e.learned = now
	g.Expect(b.judge(e, b.fingerprint(older), now+b.late-1)).To(Equal(nothing))
	g.Expect(b.judge(e, b.fingerprint(older), now+b.late)).To(Equal(doubtful), "no index is as late: the hub was restored")

	e.refuted, e.refutedAt = b.row(b.fingerprint(older)), now+b.late
	g.Expect(b.judge(e, b.fingerprint(older), now+2*b.late-1)).To(Equal(nothing), "the hub has just said otherwise")
	g.Expect(b.judge(e, b.fingerprint(older), now+2*b.late)).To(Equal(doubtful), "it may be true by now")
	e.refuted, e.refutedAt = b.row(b.fingerprint(gone)), now
	g.Expect(b.judge(e, b.fingerprint(gone), now+moment(settleTime)-1)).To(Equal(nothing), "the hub has just said otherwise")
	g.Expect(b.judge(e, b.fingerprint(gone), now+moment(settleTime))).To(Equal(moved), "connections come back")
}

// TestARowThatIsShownTwiceIsOneDocument: pages may overlap.
func TestARowThatIsShownTwiceIsOneDocument(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	woken := 0
	b := newFingerprints(nil, time.Now())
	b.wake = func(_ types.NamespacedName) { woken++ }
	id := hub.ID{Device: "d"}
	now := time.Now()
	b.track(id, types.NamespacedName{Name: "t"})
	b.dealt(&hub.Twin{ID: id, ETag: "e1", DeviceETag: "d", Version: 2}, true, now)
	row := hub.IndexRow{ID: id, ETag: "e1", DeviceETag: "d", Version: 3}
	b.compare([]hub.IndexRow{row, row}, true, time.Time{}, now)
	b.compare([]hub.IndexRow{row}, true, time.Time{}, now)
	g.Expect(b.wantedOf(hub.Devices)).To(Equal([]hub.ID{id}))
	for range 2 {
		b.offer(&hub.Twin{ID: id, ETag: "e1", DeviceETag: "d", Version: 3}, now)
	}
	g.Expect(woken).To(Equal(1))
	twin, known, doubt := b.evidence(id, now)
	g.Expect(twin.Version).To(Equal(int64(3)))
	g.Expect(known).To(BeTrue())
	g.Expect(doubt).To(BeFalse())
	again, _, _ := b.evidence(id, now)
	g.Expect(again).To(BeIdenticalTo(twin), "it was not dealt with")
	b.dealt(&hub.Twin{ID: id, ETag: "e2", DeviceETag: "d", Version: 4}, true, now)
	late, _, _ := b.evidence(id, now)
	g.Expect(late).To(BeNil(), "a direct read was faster")
	g.Expect(b.pendingCount).To(BeZero())
}

// TestADocumentThatIsReadAgain is handed over once, whether the twin has moved or not;
// a late one is not, and another is read.
func TestADocumentThatIsReadAgain(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	woken := 0
	b := newFingerprints(func(types.NamespacedName) { woken++ }, time.Now())
	now := time.Now()
	id := hub.ID{Device: "d1"}
	at := func(version int64, etag string) *hub.Twin {
		return &hub.Twin{ID: id, Version: version, ETag: etag, DeviceETag: "device"}
	}
	taken := func() *hub.Twin {
		twin, _, _ := b.evidence(id, now)
		return twin
	}
	b.track(id, types.NamespacedName{Name: "t1"})
	b.reread(id)
	g.Expect(b.twins[id].wanted).To(BeFalse(), "nothing is known: that is asked for by itself")
	b.dealt(at(7, "b"), true, now)
	b.reread(id)
	b.offer(at(6, "a"), now)
	g.Expect(woken).To(BeZero())
	g.Expect(b.twins[id].wanted).To(BeTrue(), "the index is late")
	same := at(7, "b")
	b.offer(same, now)
	g.Expect(woken).To(Equal(1))
	g.Expect(taken()).To(BeIdenticalTo(same))
	b.dealt(same, false, now)
	b.offer(at(7, "b"), now)
	g.Expect(woken).To(Equal(1))
	g.Expect(taken()).To(BeNil())
}

// TestATwinThatIsNewDuringASweepIsNotMissing from it.
func TestATwinThatIsNewDuringASweepIsNotMissing(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var woken []string
	b := newFingerprints(func(name types.NamespacedName) { woken = append(woken, name.Name) }, time.Now())
	for _, device := range []string{"old", "new"} {
		b.track(hub.ID{Device: device}, types.NamespacedName{Name: device})
	}
	b.dealt(&hub.Twin{ID: hub.ID{Device: "old"}, ETag: "e1", Version: 2}, true, time.Now())
	g.Expect(b.beginSweep(hub.Devices, time.Now())).To(ConsistOf(hub.ID{Device: "old"}))
	b.dealt(&hub.Twin{ID: hub.ID{Device: "new"}, ETag: "e1", Version: 2}, true, time.Now())
	b.endSweep(hub.Devices)
	g.Expect(woken).To(Equal([]string{"old"}))
}

// TestABatchEndsWithAllOfItsLastDevice, so that each wanted twin is found missing, or not,
// by the batch that asked for its device.
func TestABatchEndsWithAllOfItsLastDevice(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	ids := []hub.ID{{Device: "a"}, {Device: "b", Module: "m"}, {Device: "b", Module: "n"}, {Device: "c"}}
	for device, want := range map[string]int{"a": 1, "b": 3, "c": 4} {
		g.Expect(upTo(ids, device)).To(Equal(ids[:want]), device)
	}
}
