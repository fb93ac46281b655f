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
}

// startManager starts the environment's manager and returns when it was started and when it
// said that it is ready.
func (e *environment) startManager(ctx context.Context) (started, ready time.Time, err error) {
	m, started, err := e.launch(ctx, "manager")
	if err != nil {
		return started, started, err
	}
	e.manager = m
	return started, time.Now(), nil
}

// launch starts a manager, with flags besides the usual ones, and waits until it says
// that it is ready. name is that of its log.
func (e *environment) launch(ctx context.Context, name string, flags ...string) (m *manager, started time.Time, err error) {
	e.stir()
	web := &http.Client{Timeout: 5 * time.Second}
	start := func(ports []int) (*process.Process, error) {
		started = time.Now()
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
		return nil, started, err
	}
	return &manager{Process: p, pprof: fmt.Sprintf("http://127.0.0.1:%d/debug/pprof/heap?gc=1&debug=1", ports[1])}, started, nil
}

// stopManager has the manager leave in order.
func (e *environment) stopManager() error {
	err := e.sup.Stop(e.manager.Process)
	e.manager = nil
	return err
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
