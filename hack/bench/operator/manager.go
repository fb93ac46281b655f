package main

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/controlplane"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

// manager is a running manager.
type manager struct {
	*process.Process
	pprof string
	// started is when it was started, ready when it said that it is ready.
	started, ready time.Time
}

// startManager starts the environment's manager.
func startManager(ctx context.Context, r *run) (err error) {
	r.env.manager, err = r.env.launch(ctx, "manager")
	return err
}

// stopManager has the manager leave in order.
func stopManager(_ context.Context, r *run) error {
	err := r.env.sup.Stop(r.env.manager.Process)
	r.env.manager = nil
	return err
}

// launch starts a manager, with flags besides the usual ones, and waits until it says
// that it is ready. name is that of its log.
func (e *environment) launch(ctx context.Context, name string, flags ...string) (*manager, error) {
	e.stir()
	m := &manager{}
	web := &http.Client{Timeout: 5 * time.Second}
	start := func(ports []int) (*process.Process, error) {
		m.started = time.Now()
		return e.sup.Start(name, filepath.Join(e.opts.bin, "manager"), append([]string{
			"--kubeconfig", e.managerKubeconfig, "--allowed-host-suffixes", "localhost",
			"--workers", strconv.Itoa(e.opts.workers), "--metrics-bind-address", "0", "--leader-elect=false",
			"--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", ports[0]),
			"--pprof-bind-address", fmt.Sprintf("127.0.0.1:%d", ports[1]),
		}, flags...)...)
	}
	p, ports, err := e.sup.StartOnFreePorts(ctx, 2, start, func(ctx context.Context, ports []int) error {
		return controlplane.Healthy(ctx, web, fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[0]))
	})
	if err != nil {
		return nil, err
	}
	m.Process, m.ready = p, time.Now()
	m.pprof = fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/heap?gc=1&debug=1", ports[1])
	return m, nil
}

// heap is what lives on the manager's heap, in bytes. What pools hold goes with the
// second garbage collection.
func (m *manager) heap(ctx context.Context) (int, error) {
	if _, err := m.collect(ctx); err != nil {
		return 0, err
	}
	return m.collect(ctx)
}

func (m *manager) collect(ctx context.Context) (int, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.pprof, nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer func() { _ = answer.Body.Close() }() // only read
	lines := bufio.NewScanner(answer.Body)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		if text, found := strings.CutPrefix(lines.Text(), "# HeapAlloc = "); found {
			return strconv.Atoi(text)
		}
	}
	return 0, fmt.Errorf("%s names no HeapAlloc (%v)", m.pprof, lines.Err())
}
