package main

import (
	"cmp"
	"context"
	_ "embed"
	"fmt"
	"math"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/stats"
)

//go:embed peer.js
var peerScript []byte

const (
	peerTwins = 1000
	// peerAtATime is how many twins the script updates at the same time.
	peerAtATime = 16
	// peerSet are the devices that the script updates.
	peerSet = "peer"
	// peerLimit bounds the script, and the installation of what it needs.
	peerLimit = 5 * time.Minute
	// hubRest has a throttled hub's burst be whole again for who comes second: it is
	// 2.5 seconds' worth (docs/emulator.md).
	hubRest = 5 * time.Second
)

// nodeDir has the packages, at the versions that the conformance tests lock.
func (o options) nodeDir() (string, error) {
	return filepath.Abs(filepath.Join(o.root, "test", "conformance", "node"))
}

func peersRow() scenario {
	free, held := &versus{profile: unthrottled}, &versus{profile: fullS1}
	return scenario{
		name: "peers", title: "1,000 twins beside Microsoft's SDK for Node",
		hub: fullS1.String() + "; beside it an " + unthrottled.String(), twins: atMost(peerTwins), rounds: true,
		steps: slices.Concat([]step{{"have azure-iothub installed", installPackages}}, free.steps("unthrottled"), held.steps("S1")),
		report: func(_ context.Context, r *run) error {
			held.describe(r.out, "at the S1 hub")
			free.describe(r.out, "unthrottled")
			r.out.note("Both read each twin and write it on the condition of its etag; times are from the first twin that was read to the last update. " +
				"The operator writes its record to the API server before each update and a status after it, which a script does not: where the " +
				"hub does not bound the rate, that does (two writes to the API server for each object; see the floors of converge). No bound is set for that.")
			r.out.note("At the S1 hub the hub sets the time of both, all but the one record that comes before the first update; the ratio is held to a hundredth.")
			ratio := stats.Median(ratios(held.ours, held.node))
			r.out.bound(bounds.AtMost("the operator's time, beside Node's, at the S1 hub", "%.2f times", math.Round(ratio*100)/100, 1))
			return nil
		},
	}
}

// fullS1 is an S1 unit, all of whose rate may be used, as a script would.
var fullS1 = profile{sku: v1alpha1.SKUS1, units: 1, rate: 100, throttled: true}

// versus is what both took at one kind of hub, in seconds, by round.
type versus struct {
	profile    profile
	node, ours []float64
}

func (v *versus) steps(which string) []step {
	return []step{
		{"start a cluster with an " + which + " hub", startCluster},
		{"start the hub", func(ctx context.Context, r *run) error {
			return r.env.addHub(ctx, "hub", v.profile, map[string]int{fleetSet: r.out.N, peerSet: r.out.N})
		}},
		{"create the DeviceTwins", createTwins},
		{"update by both", v.measure},
	}
}

// measure has both work at one hub; the other one comes first in the next round.
func (v *versus) measure(ctx context.Context, r *run) error {
	sides := []action{v.byNode, v.byOperator}
	if r.round%2 == 1 {
		slices.Reverse(sides)
	}
	for _, side := range sides {
		if err := side(ctx, r); err != nil {
			return err
		}
		if err := r.pass(ctx, "the hub rests", hubRest); err != nil {
			return err
		}
	}
	return nil
}

func (v *versus) describe(out *result, where string) {
	out.add("azure-iothub on Node, 16 at a time, "+where, stats.Median(v.node), "s")
	out.add("the operator, "+where, stats.Median(v.ours), "s")
}

// installPackages has the SDK on disk, as the conformance tests do.
func installPackages(ctx context.Context, r *run) error {
	dir, err := r.opts.nodeDir()
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "node_modules", "azure-iothub")); err == nil {
		return nil
	}
	r.say("npm ci installs azure-iothub")
	ctx, cancel := context.WithTimeout(ctx, peerLimit)
	defer cancel()
	install := exec.CommandContext(ctx, "npm", "ci", "--include=dev", "--ignore-scripts", "--prefer-offline", "--no-audit", "--no-fund", "--loglevel=error")
	install.Dir = dir
	if output, err := install.CombinedOutput(); err != nil {
		return fmt.Errorf("install azure-iothub with npm: %w: %s", err, output)
	}
	return nil
}

// byOperator starts the manager and stops it when all are Ready.
func (v *versus) byOperator(ctx context.Context, r *run) error {
	took, err := r.timeUpdates(ctx, func() error { return startManager(ctx, r) })
	r.sample(&v.ours, "the operator", took.Seconds(), "s")
	if err == nil {
		err = awaitReady(ctx, r)
	}
	if err == nil {
		err = stopManager(ctx, r)
	}
	return err
}

// byNode runs the script to its end.
func (v *versus) byNode(ctx context.Context, r *run) error {
	ctx, cancel := context.WithTimeout(ctx, peerLimit)
	defer cancel()
	script, err := r.script(ctx)
	if err != nil {
		return err
	}
	took, err := r.timeUpdates(ctx, func() error {
		if output, err := script.CombinedOutput(); err != nil {
			return fmt.Errorf("the script for Node: %w: %s", err, output)
		}
		return nil
	})
	r.sample(&v.node, "Node", took.Seconds(), "s")
	return err
}

// script is the command that updates the twins. The service package gets the host name
// as a real hub has it, without a port.
func (r *run) script(ctx context.Context) (*exec.Cmd, error) {
	h := r.hub()
	dir, err := r.opts.nodeDir()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(r.env.work, "peer.js")
	if err := os.WriteFile(path, peerScript, 0o600); err != nil {
		return nil, err
	}
	_, port, err := net.SplitHostPort(h.Addresses.HTTPS)
	if err != nil {
		return nil, err
	}
	const name = "localhost"
	connection := strings.Replace(h.Policies["service"], "HostName="+net.JoinHostPort(name, port), "HostName="+name, 1)
	script := exec.CommandContext(ctx, "node", "--require", "./redirect-443.js", path, peerSet, strconv.Itoa(r.out.N), strconv.Itoa(peerAtATime))
	script.Dir = dir
	script.Env = append(os.Environ(), "NODE_PATH="+filepath.Join(dir, "node_modules"), "NODE_EXTRA_CA_CERTS="+h.CAFile(),
		"HUB_HOST="+name, "HUB_HTTPS_PORT="+port, "HUB_SERVICE_CONNECTION="+connection, "TWIN_PATCH="+string(twinPatch(1)))
	return script, nil
}

// timeUpdates has a client start, and measures the time from the first twin that is read
// to the last update at the hub.
func (r *run) timeUpdates(ctx context.Context, start func() error) (took time.Duration, err error) {
	before, err := r.hub().calls(ctx)
	if err != nil {
		return 0, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	watched := make(chan error, 1)
	go func() {
		var first time.Time
		err := r.await(ctx, "twins are updated", peerLimit, 10*time.Millisecond, func() (string, bool, error) {
			now, err := r.hub().calls(ctx)
			made := now.since(before)
			if first.IsZero() && made.found > 0 {
				first = time.Now()
			}
			return fmt.Sprintf("%d of %d", made.patch, r.out.N), made.patch >= r.out.N, err
		})
		took = time.Since(first)
		watched <- err
	}()
	if err = start(); err != nil {
		stop(err)
	}
	watchErr := <-watched
	return took, cmp.Or(err, watchErr)
}
