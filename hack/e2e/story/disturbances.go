package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

const (
	leaseName = "devicetwin-operator.iothub.devicetwin.io"
	certName  = release + "-webhook-certificate"
	// tooLittle memory for a manager to start with.
	tooLittle = "16Mi"
)

// leadership follows the Lease until it is stopped, for the longest time that no manager held it.
type leadership struct {
	gap  time.Duration
	stop chan struct{}
	done chan struct{}
}

func (f *fleet) followLease(ctx context.Context) *leadership {
	l := &leadership{stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(l.done)
		ticker := time.NewTicker(100 * time.Millisecond)
		defer ticker.Stop()
		last, held := f.holder(ctx), time.Now()
		for {
			select {
			case <-l.stop:
				return
			case <-ticker.C:
			}
			holder := f.holder(ctx)
			if holder == "" {
				continue
			}
			if holder != last {
				l.gap = max(l.gap, time.Since(held))
			}
			last, held = holder, time.Now()
		}
	}()
	return l
}

// end stops following.
func (l *leadership) end() time.Duration {
	close(l.stop)
	<-l.done
	return l.gap
}

// holder of the Lease; empty while it is released, or not known.
func (f *fleet) holder(ctx context.Context) string {
	var lease coordinationv1.Lease
	if err := f.Get(ctx, types.NamespacedName{Namespace: systemNamespace, Name: leaseName}, &lease); err != nil {
		return ""
	}
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// podOf a holder: a manager calls itself after its host, which is its Pod.
func podOf(holder string) string {
	pod, _, _ := strings.Cut(holder, "_")
	return pod
}

func (f *fleet) upgrade(ctx context.Context) (string, error) {
	return f.editing(ctx, f.opts.twins, func(ctx context.Context) (string, error) {
		return f.changingLeaders(ctx, func(string) error { return f.helmUpgrade(ctx, f.opts.chart, f.opts.version) })
	})
}

func (f *fleet) deleteLeader(ctx context.Context) (string, error) {
	return f.editing(ctx, 300, func(ctx context.Context) (string, error) {
		return f.changingLeaders(ctx, func(leader string) error {
			pod := &corev1.Pod{}
			pod.Namespace, pod.Name = systemNamespace, leader
			return f.Delete(ctx, pod)
		})
	})
}

// changingLeaders does what takes the leader's Pod away, and says how long there was none.
func (f *fleet) changingLeaders(ctx context.Context, do func(leader string) error) (string, error) {
	leader := podOf(f.holder(ctx))
	lease := f.followLease(ctx)
	err := do(leader)
	if err == nil {
		err = await(ctx, "another leader", func(ctx context.Context) (string, bool, error) {
			now := podOf(f.holder(ctx))
			return now, now != "" && now != leader, nil
		})
	}
	gap := lease.end()
	if err == nil && gap > leaderGap {
		err = fmt.Errorf("no leader for %s, longer than %s", gap.Round(time.Millisecond), leaderGap)
	}
	return fmt.Sprintf("%.1f s without a leader at most", gap.Seconds()), err
}

func (f *fleet) restartContainerd(ctx context.Context) (string, error) {
	before, err := f.restarts(ctx)
	if err != nil {
		return "", err
	}
	return f.editing(ctx, 100, func(ctx context.Context) (string, error) {
		if _, err := f.tool(ctx, "bash", "-euo", "pipefail", "-c", "source hack/e2e/node.sh; restart_containerd"); err != nil {
			return "", err
		}
		after, err := f.restarts(ctx)
		if err == nil && after != before {
			err = fmt.Errorf("containers were started again: %d times, %d before", after, before)
		}
		return "no container was started again", err
	})
}

// restarts of the managers' containers.
func (f *fleet) restarts(ctx context.Context) (int32, error) {
	pods, err := f.managers(ctx)
	var n int32
	for _, pod := range pods {
		for _, status := range pod.Status.ContainerStatuses {
			n += status.RestartCount
		}
	}
	return n, err
}

// rotate makes the chart find its certificate due, and applies objects until each manager serves the new one.
func (f *fleet) rotate(ctx context.Context) (string, error) {
	secret := &corev1.Secret{}
	secret.Namespace, secret.Name = systemNamespace, certName
	due := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"annotations":{"iothub.devicetwin.io/renew-after":"1"}}}`))
	if err := f.Patch(ctx, secret, due); err != nil {
		return "", err
	}
	old := string(secret.Data["tls.crt"])
	// The annotation is Helm's.
	if err := f.helmUpgrade(ctx, f.opts.chart, f.opts.version, "--force-conflicts"); err != nil {
		return "", err
	}
	if err := f.Get(ctx, client.ObjectKeyFromObject(secret), secret); err != nil {
		return "", err
	}
	if string(secret.Data["tls.crt"]) == old {
		return "", errors.New("the chart has made no new certificate")
	}
	applied := 0
	var refused error
	err := await(ctx, "each manager to serve the new certificate", func(ctx context.Context) (string, bool, error) {
		for range 5 {
			if refused = f.Create(ctx, trialTwin(), client.DryRunAll); refused != nil {
				return "", true, nil
			}
			applied++
		}
		return f.serveNew(ctx, secret.Data)
	})
	if refused != nil {
		return "", fmt.Errorf("an object was refused amid the change: %w", refused)
	}
	return fmt.Sprintf("%d objects were applied meanwhile, none was refused", applied), err
}

// trialTwin is one that admission takes, for a dry run.
func trialTwin() *v1alpha1.DeviceTwin {
	twin := &v1alpha1.DeviceTwin{}
	twin.Namespace, twin.GenerateName = plant, "trial-"
	twin.Spec.HubRef.Name, twin.Spec.DeviceID = "hub", "trial"
	twin.Spec.Desired = declaration(1)
	return twin
}

// serveNew tells whether each manager serves the certificate of the Secret.
func (f *fleet) serveNew(ctx context.Context, data map[string][]byte) (string, bool, error) {
	want, err := tls.X509KeyPair(data["tls.crt"], data["tls.key"])
	if err != nil {
		return "", false, err
	}
	pods, err := f.managers(ctx)
	if err != nil {
		return "", false, err
	}
	for _, pod := range pods {
		served := false
		dialer := tls.Dialer{Config: &tls.Config{
			InsecureSkipVerify: true, //nolint:gosec // which one is served is looked at, not trusted
			VerifyConnection: func(state tls.ConnectionState) error {
				served = state.PeerCertificates[0].Equal(want.Leaf)
				return nil
			},
		}}
		conn, err := dialer.DialContext(ctx, "tcp", net.JoinHostPort(pod.Status.PodIP, "9443"))
		if err != nil {
			return "", false, err
		}
		_ = conn.Close() // nothing was written
		if !served {
			return pod.Name + " serves the old one", false, nil
		}
	}
	return "", true, nil
}

// starve gives the managers too little memory to start with, all at once, and edits twins meanwhile.
func (f *fleet) starve(ctx context.Context) (string, error) {
	const edits = 10
	starved := f.helmUpgrade(ctx, f.opts.chart, f.opts.version, "--wait=hookOnly",
		"--set", "strategy.type=RollingUpdate", "--set", "strategy.rollingUpdate.maxUnavailable=100%",
		"--set", "resources.limits.memory="+tooLittle, "--set", "resources.requests.memory="+tooLittle, "--set", "webhook.failurePolicy=Ignore")
	if starved != nil {
		return "", starved
	}
	err := await(ctx, "managers that are killed for their memory", func(ctx context.Context) (string, bool, error) {
		pods, err := f.managers(ctx)
		killed := 0
		seen := ""
		for _, pod := range pods {
			for _, status := range pod.Status.ContainerStatuses {
				if last := status.LastTerminationState.Terminated; last != nil {
					seen += last.Reason + " "
					if last.Reason == "OOMKilled" {
						killed++
					}
				}
			}
		}
		return fmt.Sprintf("%d managers, last ended: %s", len(pods), seen), killed == 2, err
	})
	if err != nil {
		return "", err
	}
	if err := f.edit(ctx, edits); err != nil {
		return "", err
	}
	if err := f.helmUpgrade(ctx, f.opts.chart, f.opts.version); err != nil {
		return "", err
	}
	return f.settles(ctx, edits)
}

// reinstall proves that nothing is lost with the release, and that an edit is all that the new one writes.
func (f *fleet) reinstall(ctx context.Context) (string, error) {
	if _, err := f.tool(ctx, "helm", "uninstall", release, "-n", systemNamespace, "--wait", "--timeout", stepTimeout.String()); err != nil {
		return "", err
	}
	var twins v1alpha1.DeviceTwinList
	if err := f.List(ctx, &twins, client.InNamespace(plant)); err != nil {
		return "", err
	}
	if len(twins.Items) != f.opts.twins {
		return "", fmt.Errorf("%d of %d objects are left", len(twins.Items), f.opts.twins)
	}
	if err := f.edit(ctx, 1); err != nil {
		return "", err
	}
	if err := f.helmUpgrade(ctx, f.opts.chart, f.opts.version); err != nil {
		return "", err
	}
	return f.settles(ctx, 1)
}
