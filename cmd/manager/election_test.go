package main

import (
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/client-go/rest"
)

func TestTheTimesOfAnElectionHaveToFit(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		lease, renew, retry time.Duration
		fits                bool
	}{
		"the defaults":               {15 * time.Second, 10 * time.Second, 2 * time.Second, true},
		"renewed for too long":       {10 * time.Second, 10 * time.Second, 2 * time.Second, false},
		"tried again after too long": {15 * time.Second, 10 * time.Second, 10 * time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			opts := options{leaderElect: true, election: election{namespace: "ns", lease: tt.lease, renew: tt.renew, retry: tt.retry}}
			lock, err := opts.lock(&rest.Config{Host: "https://127.0.0.1:1"}, "lease")
			if !tt.fits {
				g.Expect(err).To(MatchError(ContainSubstring("--leader-elect-renew-deadline")))
				return
			}
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(lock.Check()).NotTo(Succeed(), "it is not elected yet")
		})
	}
	lock, err := options{}.lock(nil, "lease")
	NewWithT(t).Expect(err).NotTo(HaveOccurred())
	NewWithT(t).Expect(lock.Check()).To(Succeed(), "without an election it always leads")
}
