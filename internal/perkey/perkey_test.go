package perkey_test

import (
	"context"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"

	"github.com/devicetwin-io/devicetwin-operator/internal/perkey"
)

// TestRun: keys side by side, one at a time for each, and none is left behind at the end.
func TestRun(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	ctx, stop := context.WithCancel(t.Context())
	due := workqueue.NewTyped[types.NamespacedName]()
	one, other := types.NamespacedName{Name: "one"}, types.NamespacedName{Name: "other"}
	began, goOn, done := make(chan string), make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		perkey.Run(ctx, due, func(ctx context.Context, key types.NamespacedName) {
			began <- key.Name
			select {
			case <-goOn:
			case <-ctx.Done():
			}
		})
	}()
	due.Add(one)
	g.Eventually(began).Should(Receive(Equal("one")))
	due.Add(one) // waits for the call that goes on
	due.Add(other)
	g.Eventually(began).Should(Receive(Equal("other")))
	g.Consistently(began, "100ms").ShouldNot(Receive())
	goOn <- struct{}{}
	goOn <- struct{}{}
	g.Eventually(began).Should(Receive(Equal("one")))
	g.Expect(done).NotTo(BeClosed())
	stop()
	g.Eventually(done).Should(BeClosed())
}
