package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"time"
)

// operator is the installed operator and its manager process.
type operator struct {
	sup        *supervisor
	path       string
	kubeconfig string
	// certDir holds the webhooks' certificate.
	certDir string
	// user is the manager's name at the API server.
	user    string
	process *process
	// ports are where it serves its webhooks and its probes.
	ports []int
}

// installOperator applies the CRDs and the generated RBAC, makes a kubeconfig for
// the manager's own service account, starts the manager and has the API server ask
// its webhooks.
func (s *story) installOperator(ctx context.Context) error {
	rendered, err := s.kubectl.run(ctx, "kustomize", filepath.Join(s.opts.root, "config", "default"))
	if err != nil {
		return err
	}
	parts, err := takeApart(rendered)
	if err != nil {
		return err
	}
	if err := s.applyText(ctx, parts.objects); err != nil {
		return err
	}
	if _, err := s.kubectl.run(ctx, "wait", "--for=condition=Established", "--timeout=30s", "crd",
		"hubconnections.iothub.devicetwin.io", "devicetwins.iothub.devicetwin.io", "twinqueries.iothub.devicetwin.io",
	); err != nil {
		return err
	}
	s.operator = &operator{
		sup: s.sup, path: filepath.Join(s.opts.bin, "manager"), kubeconfig: s.dirs.in("manager.kubeconfig"),
		user: fmt.Sprintf("system:serviceaccount:%s:%s", parts.manager.namespace, parts.manager.serviceAccount),
	}
	token, err := s.kubectl.run(ctx, "create", "token", parts.manager.serviceAccount, "--namespace", parts.manager.namespace, "--duration=24h")
	if err != nil {
		return err
	}
	ca := s.cluster.ca
	if err := writeKubeconfig(s.operator.kubeconfig, s.cluster.server, ca.certFile(), map[string]any{"token": strings.TrimSpace(token)}); err != nil {
		return err
	}
	if s.operator.certDir, err = ca.serverDir("webhooks"); err != nil {
		return err
	}
	if err := s.operator.startServing(ctx); err != nil {
		return err
	}
	webhooks, err := parts.webhooksAt(fmt.Sprintf("https://127.0.0.1:%d", s.operator.ports[0]), ca.pem)
	if err != nil {
		return err
	}
	return s.applyText(ctx, string(webhooks))
}

func (s *story) applyText(ctx context.Context, manifests string) error {
	_, err := s.kubectl.runWithInput(ctx, strings.NewReader(manifests), "apply", "-f", "-")
	return err
}

// startServing starts the manager on free ports and waits until it says that it is
// ready, webhooks included.
func (o *operator) startServing(ctx context.Context) error {
	client := &http.Client{Timeout: 5 * time.Second}
	ready := func(ctx context.Context, ports []int) error {
		return healthy(ctx, client, fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[1]))
	}
	var err error
	o.process, o.ports, err = o.sup.startOnFreePorts(ctx, 2, o.run, ready)
	return err
}

// start starts the manager again, where the API server knows it. That it works
// shows in what it does.
func (o *operator) start() error {
	p, err := o.run(o.ports)
	if err != nil {
		return err
	}
	o.process = p
	return p.guard()
}

func (o *operator) run(ports []int) (*process, error) {
	return o.sup.start("manager", o.path,
		"--kubeconfig", o.kubeconfig, "--allowed-host-suffixes", "localhost",
		"--webhook-cert-dir", o.certDir, "--webhook-bind-address", fmt.Sprintf("127.0.0.1:%d", ports[0]),
		"--metrics-bind-address", "0", "--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", ports[1]), "--leader-elect=false")
}

// kill ends the manager as a crash would.
func (o *operator) kill(ctx context.Context) error {
	if o.process == nil {
		return errors.New("the manager was never started")
	}
	return o.sup.kill(ctx, o.process)
}

// readBacks counts the twins the hub has handed out over its REST API. The
// story's own reads count as well, so nobody else reads while this matters.
func (e *emulator) readBacks(ctx context.Context) (int, error) {
	counters, err := e.counters(ctx)
	return counters["getTwin"].Statuses["200"], err
}

// awaitReadBack waits until the manager has read a twin again, which shows that
// it is back at work.
func (s *story) awaitReadBack(ctx context.Context) error {
	before, err := s.emulator.readBacks(ctx)
	if err != nil {
		return err
	}
	return s.await(ctx, "the manager reads the twin again", func(ctx context.Context) (string, bool, error) {
		now, err := s.emulator.readBacks(ctx)
		return fmt.Sprintf("%d twins read since", now-before), now > before, err
	})
}

// killAndRestart is the accident of --kill-after.
func (s *story) killAndRestart(ctx context.Context, after string) error {
	s.out.note("The manager is killed (SIGKILL) after step %s and started again.", after)
	if err := s.operator.kill(ctx); err != nil {
		return err
	}
	killed := time.Now()
	if err := s.operator.start(); err != nil {
		return err
	}
	if s.applied {
		if err := s.awaitReadBack(ctx); err != nil {
			return err
		}
		s.out.note("It is back at work after %s.", seconds(time.Since(killed)))
	}
	return nil
}
