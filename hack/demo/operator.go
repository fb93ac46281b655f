package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"
)

// operator is the installed operator and its manager process.
type operator struct {
	sup        *supervisor
	path       string
	kubeconfig string
	// user is the manager's name at the API server.
	user    string
	process *process
}

// installOperator applies the CRDs and the generated RBAC and makes a
// kubeconfig for the manager's own service account.
func installOperator(ctx context.Context, k *kubectl, c *cluster, root, kubeconfig string) (user string, err error) {
	rendered, err := k.run(ctx, "kustomize", filepath.Join(root, "config", "default"))
	if err != nil {
		return "", err
	}
	objects, manager, err := splitInstallation(rendered)
	if err != nil {
		return "", err
	}
	if _, err := k.runWithInput(ctx, strings.NewReader(objects), "apply", "-f", "-"); err != nil {
		return "", err
	}
	if _, err := k.run(ctx, "wait", "--for=condition=Established", "--timeout=30s", "crd",
		"hubconnections.iothub.devicetwin.io", "devicetwins.iothub.devicetwin.io", "twinqueries.iothub.devicetwin.io",
	); err != nil {
		return "", err
	}
	token, err := k.run(ctx, "create", "token", manager.serviceAccount, "--namespace", manager.namespace, "--duration=24h")
	if err != nil {
		return "", err
	}
	user = fmt.Sprintf("system:serviceaccount:%s:%s", manager.namespace, manager.serviceAccount)
	return user, writeKubeconfig(kubeconfig, c.server, c.ca.certFile(), map[string]any{"token": strings.TrimSpace(token)})
}

// start starts the manager. That it works shows in what it does.
func (o *operator) start() error {
	p, err := o.sup.start("manager", o.path,
		"--kubeconfig", o.kubeconfig, "--allowed-host-suffixes", "localhost",
		"--metrics-bind-address", "0", "--health-probe-bind-address", "0", "--leader-elect=false")
	if err != nil {
		return err
	}
	o.process = p
	return p.guard()
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
