package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"path/filepath"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/controlplane"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

// operator is the installed operator and its manager process.
type operator struct {
	sup        *process.Supervisor
	path       string
	kubeconfig string
	// certDir holds the webhooks' certificate.
	certDir string
	// user is the manager's name at the API server.
	user    string
	process *process.Process
	// ports are where it serves its webhooks and its probes.
	ports []int
}

// installOperator applies the CRDs and the generated RBAC, makes a kubeconfig for
// the manager's own service account, starts the manager and has the API server ask
// its webhooks.
func (s *story) installOperator(ctx context.Context) error {
	kubeconfig := s.dirs.in("manager.kubeconfig")
	parts, err := s.cluster.Install(ctx, s.opts.root, kubeconfig)
	if err != nil {
		return err
	}
	s.operator = &operator{
		sup: s.sup, path: filepath.Join(s.opts.bin, "manager"), kubeconfig: kubeconfig, user: parts.User(),
	}
	ca := s.cluster.CA
	if s.operator.certDir, err = ca.ServerDir("webhooks"); err != nil {
		return err
	}
	if err := s.operator.startServing(ctx); err != nil {
		return err
	}
	webhooks, err := parts.WebhooksAt(fmt.Sprintf("https://127.0.0.1:%d", s.operator.ports[0]), ca.PEM())
	if err != nil {
		return err
	}
	return s.kubectl.Apply(ctx, string(webhooks))
}

// startServing starts the manager on free ports and waits until it says that it is
// ready, webhooks included.
func (o *operator) startServing(ctx context.Context) error {
	client := &http.Client{Timeout: 5 * time.Second}
	ready := func(ctx context.Context, ports []int) error {
		return controlplane.Healthy(ctx, client, fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[1]))
	}
	var err error
	o.process, o.ports, err = o.sup.StartOnFreePorts(ctx, 2, o.run, ready)
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
	return p.Guard()
}

func (o *operator) run(ports []int) (*process.Process, error) {
	return o.sup.Start("manager", o.path,
		"--kubeconfig", o.kubeconfig, "--allowed-host-suffixes", "localhost",
		"--webhook-cert-dir", o.certDir, "--webhook-bind-address", fmt.Sprintf("127.0.0.1:%d", ports[0]),
		"--metrics-bind-address", "0", "--health-probe-bind-address", fmt.Sprintf("127.0.0.1:%d", ports[1]), "--leader-elect=false")
}

// kill ends the manager as a crash would.
func (o *operator) kill(ctx context.Context) error {
	if o.process == nil {
		return errors.New("the manager was never started")
	}
	return o.sup.Kill(ctx, o.process)
}

// queries counts the queries that the hub has answered. The story's own queries
// are counted too, so the story sends none while this matters.
func (s *story) queries(ctx context.Context) (int, error) {
	counters, err := s.emulator.Counters(ctx)
	return counters["query"].Statuses["200"], err
}

// awaitReadBack waits until the manager has asked the hub again, which shows that
// it is back at work.
func (s *story) awaitReadBack(ctx context.Context) error {
	before, err := s.queries(ctx)
	if err != nil {
		return err
	}
	return s.await(ctx, "the manager asks the hub again", func(ctx context.Context) (string, bool, error) {
		now, err := s.queries(ctx)
		return fmt.Sprintf("%d queries since", now-before), now > before, err
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
