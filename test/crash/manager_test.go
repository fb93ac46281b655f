package crash_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"go.uber.org/zap/zapcore"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/devicetwin-io/devicetwin-operator/controllers"
)

// managerVariable makes this program a manager when it is set.
const managerVariable = "CRASH_MATRIX_MANAGER"

// callSite is the header in which a manager says which of its functions a request to the
// API server comes from.
const callSite = "X-Call-Site"

// assignment is what a manager reads first, on its standard input. Each further
// value there is a duration that its clock is put forward by.
type assignment struct {
	APIServer string
	Namespace string
	// Forward is how far the clock of the manager before this one was put.
	Forward time.Duration
}

// manage is the manager as a program: it runs until it is killed, or until
// the process that gives it orders is gone.
func manage(orders io.Reader, logs io.Writer) int {
	log.SetLogger(zap.New(zap.WriteTo(logs), zap.Level(zapcore.ErrorLevel)))
	input := json.NewDecoder(orders)
	var assigned assignment
	if err := input.Decode(&assigned); err != nil {
		fmt.Fprintln(logs, "reading the assignment:", err)
		return 1
	}
	clock := &movedClock{}
	clock.forward.Store(int64(assigned.Forward))
	go func() {
		for {
			var by time.Duration
			if input.Decode(&by) != nil {
				os.Exit(0) // the parent process is gone
			}
			clock.forward.Add(int64(by))
		}
	}()
	if err := runManager(assigned, clock); err != nil {
		fmt.Fprintln(logs, "the manager ended:", err)
		return 1
	}
	return 0
}

func runManager(assigned assignment, clock *movedClock) error {
	config := &rest.Config{Host: assigned.APIServer, QPS: -1}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { return nameCaller{next} })
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: suite.scheme, Metrics: metricsserver.Options{BindAddress: "0"},
		Cache: cache.Options{DefaultNamespaces: map[string]cache.Config{assigned.Namespace: {}}},
		// A panic is the end of the test, not a retry that hides it.
		Controller: ctrlconfig.Controller{RecoverPanic: ptr.To(false)},
	})
	if err != nil {
		return err
	}
	ctx := context.Background()
	err = controllers.Setup(ctx, mgr, controllers.Options{
		AllowedHostSuffixes: []string{"localhost"}, Clock: clock,
		RetryInterval: 200 * time.Millisecond, MaxBackoff: 200 * time.Millisecond,
	})
	if err != nil {
		return err
	}
	return mgr.Start(ctx)
}

// movedClock is the real one, put forward.
type movedClock struct{ forward atomic.Int64 }

func (c *movedClock) Now() time.Time                  { return time.Now().Add(time.Duration(c.forward.Load())) }
func (c *movedClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

// nameCaller tells the function that a request comes from.
type nameCaller struct{ next http.RoundTripper }

func (n nameCaller) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set(callSite, caller())
	return n.next.RoundTrip(r)
}

// caller is the innermost function on this goroutine's stack that decides on a write.
func caller() string {
	var counters [64]uintptr
	frames := runtime.CallersFrames(counters[:runtime.Callers(1, counters[:])])
	for {
		frame, more := frames.Next()
		if pkg, function, ours := strings.Cut(path.Base(frame.Function), "."); ours && slices.Contains(writers, pkg) && strings.HasPrefix(frame.Function, module) {
			return function[strings.LastIndexByte(function, '.')+1:]
		}
		if !more {
			return ""
		}
	}
}
