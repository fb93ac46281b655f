package gcfloor

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

const megabyte = 1 << 20

func TestPercent(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		live uint64
		want int
	}{
		"nothing collected yet":       {0, 1600},
		"a small heap":                {8 * megabyte, 800},
		"as much alive as is allowed": {64 * megabyte, 100},
		"a large heap":                {1024 * megabyte, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			NewWithT(t).Expect(percent(64*megabyte, tt.live)).To(Equal(tt.want))
		})
	}
}

// TestHoldFollowsTheHeap: not parallel, since GOGC is the whole process's.
func TestHoldFollowsTheHeap(t *testing.T) {
	t.Setenv("GOGC", "")
	g := NewWithT(t)
	before := gcPercent()
	t.Cleanup(func() { debug.SetGCPercent(before) })
	alive := make([][]byte, 0, 1)
	Hold(64 * megabyte)
	g.Expect(gcPercent()).To(BeNumerically(">", 400))
	alive = append(alive, make([]byte, 80*megabyte))
	g.Eventually(func() int { runtime.GC(); return gcPercent() }, 10*time.Second).Should(Equal(byDefault), "80 MB are alive")
	alive[0] = nil
	g.Eventually(func() int { runtime.GC(); return gcPercent() }, 10*time.Second).Should(BeNumerically(">", 400), "they are not any more")
	runtime.KeepAlive(alive)
}

func TestTheUsersOwnGOGCHolds(t *testing.T) {
	t.Setenv("GOGC", "250")
	before := gcPercent()
	Hold(64 * megabyte)
	runtime.GC()
	NewWithT(t).Expect(gcPercent()).To(Equal(before))
}

func gcPercent() int {
	sample := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(sample)
	return int(sample[0].Value.Uint64())
}
