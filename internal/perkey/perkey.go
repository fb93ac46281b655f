// Package perkey runs what is to go on in the background for each of many keys, under the
// context of a manager.Runnable, so that no struct has to hold one.
//
// It knows names, and nothing of what is done for them.
package perkey

import (
	"context"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
)

// Run calls do for each key that comes out of due, each in a goroutine of its own, and never
// twice at once for one key: a key that is added meanwhile comes when its call has returned.
// When ctx ends it shuts due down, and returns when all calls have.
func Run(ctx context.Context, due workqueue.TypedInterface[types.NamespacedName], do func(context.Context, types.NamespacedName)) {
	context.AfterFunc(ctx, due.ShutDown)
	var running sync.WaitGroup
	for {
		key, over := due.Get()
		if over {
			running.Wait()
			return
		}
		running.Go(func() {
			defer due.Done(key) // until then it does not come again
			do(ctx, key)
		})
	}
}
