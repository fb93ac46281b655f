package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
)

// What `make leader-check` changes.
var (
	pausedTwins = flag.Int("paused-twins", 40, "how many twins the leader that is stopped keeps")
	pausedRuns  = flag.Int("paused-runs", 1, "how often it is tried")
	pausedLease = flag.Duration("paused-lease", 6*time.Second, "how long a Lease lasts that is not renewed")
	pausedFor   = flag.Duration("paused-for", 10*time.Second, "how long the leader is stopped at least")
)

// leaderPatience bounds every wait; nothing takes a tenth of it on an idle machine.
const leaderPatience = 2 * time.Minute

// What the twins hold: at first, when the leader is stopped amid an edit, and in the end.
const (
	tagsBefore = `{"edited":1,"former":true,"plant":"Redmond43"}`
	tagsAmid   = `{"edited":2,"former":true,"plant":"Redmond43"}`
	tagsAfter  = `{"edited":3,"plant":"Redmond43"}`
)

// TestAPausedLeaderBringsNothingBack: a leader that is stopped for longer than its Lease
// lasts goes on with what it knew, where another one has gone on long since.
func TestAPausedLeaderBringsNothingBack(t *testing.T) {
	for run := range *pausedRuns {
		t.Run(strconv.Itoa(run+1), func(t *testing.T) { newPair(t).play() })
	}
}

// pair is two managers as processes, a hub, and a namespace: they have Roles in that, and
// no other right.
type pair struct {
	*testing.T
	WithT
	client client.Client
	ns     string
	hub    *hubemulator.Server
	lease  string // of the managers
	config string // file of the managers
}

func newPair(t *testing.T) *pair {
	t.Helper()
	p := &pair{T: t, WithT: *NewWithT(t)}
	scheme, err := newScheme()
	p.Expect(err).NotTo(HaveOccurred())
	p.client, err = client.New(suite.env.Config(), client.Options{Scheme: scheme})
	p.Expect(err).NotTo(HaveOccurred())
	p.ns = testenv.Namespace(t, p.client, nil)
	part, err := options{namespaces: p.ns}.shard()
	p.Expect(err).NotTo(HaveOccurred())
	p.lease = part.Lease(leaderElectionID)
	account := rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "system:serviceaccount:" + p.ns + ":manager"}
	p.Expect(suite.env.GrantRoles(p.ns, account)).To(Succeed())
	p.Expect(suite.env.GrantLeaderElection(p.ns, p.lease, account)).To(Succeed())
	p.config = suite.env.ServiceAccountKubeconfigFile(t, p.ns, "manager")
	p.hub, err = hubemulator.Start(t.Context(), hubemulator.Options{
		Fleet: &hubemulator.Fleet{Devices: []hubemulator.FleetDevice{{ID: "d-{{n}}", Count: *pausedTwins}}},
	})
	p.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { p.Expect(p.hub.Close()).To(Succeed()) })
	return p
}

func (p *pair) play() {
	p.Helper()
	p.declare()
	leader := p.start()
	p.awaitReady()
	p.start()
	p.edit(tagsAmid, *pausedTwins/2)
	leader.signal(syscall.SIGSTOP)
	stopped, held := time.Now(), p.holder()
	p.edit(tagsAfter, *pausedTwins)
	p.Eventually(p.holder, leaderPatience, "100ms").ShouldNot(Or(Equal(held), BeEmpty()))
	p.awaitReady()
	p.Expect(p.unlike(tagsAfter)).To(BeEmpty())
	<-time.After(*pausedFor - time.Since(stopped))
	written := p.written()
	p.Logf("stopped for %s, with %d twins; the hub has taken %d updates", time.Since(stopped).Round(time.Second), *pausedTwins, written)
	leader.signal(syscall.SIGCONT)
	p.Eventually(leader.ended, leaderPatience).Should(BeClosed(), "it does not lead any more")
	p.awaitReadBacks(3)
	p.Expect(p.unlike(tagsAfter)).To(BeEmpty())
	p.Expect(p.written()).To(Equal(written), "nothing had to be put right again")
	p.awaitReady()
}

// process is a manager.
type process struct {
	pair  *pair
	cmd   *exec.Cmd
	logs  bytes.Buffer  // to be read when it has ended
	ended chan struct{} // closed when it has
}

// start runs a manager until the test ends.
func (p *pair) start() *process {
	p.Helper()
	program, err := os.Executable()
	p.Expect(err).NotTo(HaveOccurred())
	ctx, kill := context.WithCancel(context.Background()) // not the test's own, which ends before its cleanup
	m := &process{pair: p, ended: make(chan struct{})}
	m.cmd = exec.CommandContext(ctx, program, "--kubeconfig", p.config, "--leader-elect", "--leader-elect-namespace", p.ns, "--watch-namespaces", p.ns,
		"--leader-elect-lease-duration", pausedLease.String(), "--leader-elect-renew-deadline", (*pausedLease * 2 / 3).String(),
		"--leader-elect-retry-period", (*pausedLease / 8).String(),
		"--allowed-host-suffixes", "localhost", "--health-probe-bind-address", "0", "--zap-log-level", "error")
	m.cmd.Env = append(os.Environ(), managerVariable+"=1")
	m.cmd.Stdout, m.cmd.Stderr = &m.logs, &m.logs
	p.Expect(m.cmd.Start()).To(Succeed())
	ending := sync.WaitGroup{}
	ending.Go(func() {
		defer close(m.ended)
		_ = m.cmd.Wait() // how it ended does not matter: it lost its Lease, or was killed
	})
	p.Cleanup(func() {
		kill()
		ending.Wait()
		if p.Failed() {
			p.Logf("a manager:\n%s", m.logs.String())
		}
	})
	return m
}

func (m *process) signal(s syscall.Signal) {
	m.pair.Helper()
	m.pair.Expect(m.cmd.Process.Signal(s)).To(Succeed())
}

// declare creates the HubConnection and a DeviceTwin for each device.
func (p *pair) declare() {
	p.Helper()
	text, err := p.hub.ServiceConnectionString("service")
	p.Expect(err).NotTo(HaveOccurred())
	p.Expect(p.client.Create(p.Context(), &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: "hub"}, StringData: map[string]string{"connectionString": text},
	})).To(Succeed())
	conn := &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: "hub"}}
	conn.Spec.Auth.ConnectionStringSecretRef = &v1alpha1.SecretKeyReference{Name: "hub"}
	conn.Spec.CABundle = p.hub.CACertificatePEM()
	conn.Spec.ReadBack.Interval.Duration, conn.Spec.ReadBack.FullSweepInterval.Duration = time.Second, time.Second
	conn.Spec.Tier, conn.Spec.Budget.RatePercent = v1alpha1.Tier{SKU: v1alpha1.SKUS3, Units: 10}, 100
	p.Expect(p.client.Create(p.Context(), conn)).To(Succeed())
	for n := range *pausedTwins {
		obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: deviceName(n)}}
		obj.Spec.HubRef.Name, obj.Spec.DeviceID = "hub", obj.Name
		p.Expect(p.client.Create(p.Context(), obj)).To(Succeed())
	}
	p.edit(tagsBefore, *pausedTwins)
}

func deviceName(n int) string { return fmt.Sprintf("d-%d", n+1) }

// edit has the first n objects declare tags.
func (p *pair) edit(tags string, n int) {
	p.Helper()
	patch := client.RawPatch(types.JSONPatchType, []byte(`[{"op":"add","path":"/spec/tags","value":`+tags+`}]`))
	for i := range n {
		obj := &v1alpha1.DeviceTwin{ObjectMeta: metav1.ObjectMeta{Namespace: p.ns, Name: deviceName(i)}}
		p.Expect(p.client.Patch(p.Context(), obj, patch)).To(Succeed())
	}
}

// awaitReady waits until every object is in step.
func (p *pair) awaitReady() {
	p.Helper()
	p.Eventually(func() (behind []string) {
		var list v1alpha1.DeviceTwinList
		p.Expect(p.client.List(p.Context(), &list, client.InNamespace(p.ns))).To(Succeed())
		for i := range list.Items {
			ready := kstatus.Current(&list.Items[i], v1alpha1.ConditionReady)
			if state := ptr.Deref(ready, metav1.Condition{}); state.Status != metav1.ConditionTrue {
				behind = append(behind, list.Items[i].Name+" "+cmp.Or(state.Message, "is not reconciled yet"))
			}
		}
		return behind
	}, leaderPatience, "200ms").Should(BeEmpty())
}

// holder is who holds the Lease; "" for no manager.
func (p *pair) holder() string {
	p.Helper()
	var lease coordinationv1.Lease
	p.Expect(p.client.Get(p.Context(), client.ObjectKey{Namespace: p.ns, Name: p.lease}, &lease)).To(Succeed())
	return ptr.Deref(lease.Spec.HolderIdentity, "")
}

// unlike are the devices whose tags are others.
func (p *pair) unlike(tags string) (devices []string) {
	p.Helper()
	for n := range *pausedTwins {
		text, err := p.hub.TwinJSON(deviceName(n))
		p.Expect(err).NotTo(HaveOccurred())
		var twin struct{ Tags map[string]any }
		p.Expect(json.Unmarshal(text, &twin)).To(Succeed())
		held, err := json.Marshal(twin.Tags)
		p.Expect(err).NotTo(HaveOccurred())
		if string(held) != tags {
			devices = append(devices, deviceName(n)+" "+string(held))
		}
	}
	return devices
}

// written is how many updates of twins the hub has taken.
func (p *pair) written() int64 { return p.hub.Counters().Operations["updateTwin"].Statuses["200"] }

// awaitReadBacks waits until the hub was asked n more times what moved.
func (p *pair) awaitReadBacks(n int64) {
	p.Helper()
	asked := func() int64 { return p.hub.Counters().Operations["query"].Calls }
	enough := asked() + n
	p.Eventually(asked, leaderPatience, "100ms").Should(BeNumerically(">=", enough))
}
