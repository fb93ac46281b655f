package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/controlplane"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/emulator"
)

const (
	secretName = "hub-connection"
	// newETag is what the hub gives a twin that was never written.
	newETag = "AAAAAAAAAAE="
)

// start brings up everything but the device.
func (s *story) start(ctx context.Context) error {
	s.out.note("etcd and kube-apiserver ...")
	c, err := controlplane.Start(ctx, s.sup, controlplane.Options{
		Assets: s.opts.assets, Dir: s.dirs.in("cluster"), Logs: s.dirs.logs,
	})
	if err != nil {
		return err
	}
	s.cluster = c
	s.kubectl = c.Kubectl()

	s.out.note("hubemulator ...")
	if err := s.startHub(ctx); err != nil {
		return err
	}
	s.out.note("CRDs and RBAC, and the manager as its own service account ...")
	if err := s.installOperator(ctx); err != nil {
		return err
	}
	s.manifests, err = copyManifests(filepath.Join(s.opts.root, "config", "samples", "tutorial"), s.dirs.in("manifests"))
	if err != nil {
		return err
	}
	s.out.note("API server  %s", c.Server)
	s.out.note("hub         https://%s", s.hub.credentials.Host)
	s.out.note("manager     runs as %s", s.operator.user)
	return nil
}

func (s *story) startHub(ctx context.Context) error {
	line, err := writePumps(s.dirs.in("fleet"))
	if err != nil {
		return err
	}
	flags := []string{"--fleet", line}
	if s.opts.breakStep != "a" {
		flags = append(flags, "--device", deviceID)
	}
	e, err := emulator.Start(ctx, s.sup, "hubemulator", filepath.Join(s.opts.bin, "hubemulator"), s.dirs.in("hub-data"), flags...)
	if err != nil {
		return err
	}
	s.emulator = e
	caPEM, err := os.ReadFile(e.CAFile())
	if err != nil {
		return err
	}
	s.hub, err = newHubClient(e.Service, caPEM)
	return err
}

// nothingDeclared is step a.
func (s *story) nothingDeclared(ctx context.Context) error {
	t, err := s.hub.twin(ctx)
	if err != nil {
		return &unmetError{expected: "device " + deviceID + " exists on the hub", seen: err.Error()}
	}
	s.out.evidence("the hub, GET /twins/"+deviceID, t.show())
	if t.ETag != newETag || len(t.Tags) > 0 || len(t.desired()) > 0 {
		return &unmetError{expected: "a twin that was never written: etag " + newETag + ", no tags, nothing desired", seen: t.show()}
	}
	var list struct {
		Items []deviceTwin `json:"items"`
	}
	if err := s.kubectl.Get(ctx, &list, "devicetwins", "--all-namespaces"); err != nil {
		return err
	}
	if len(list.Items) > 0 {
		return &unmetError{expected: "no DeviceTwin yet", seen: fmt.Sprintf("%d of them", len(list.Items))}
	}
	s.out.note("kubectl get devicetwins: none")
	return nil
}

// apply is step b.
func (s *story) apply(ctx context.Context) error {
	before, err := s.hub.twin(ctx)
	if err != nil {
		return err
	}
	var heldBy string
	if s.opts.killAfter == "b" {
		if heldBy, err = s.emulator.AddFault(ctx, emulator.Fault{Operation: "updateTwin", Action: "hold"}); err != nil {
			return err
		}
		s.out.note("The hub holds every twin update from here on.")
	}
	if err := s.applyEverything(ctx); err != nil {
		return err
	}
	if heldBy != "" {
		if err := s.killBetweenRecordAndWrite(ctx, heldBy, before); err != nil {
			return err
		}
	}
	s.out.note("Waiting until the hub holds what is declared.")
	wantTags := map[string]any{"location": map[string]any{"region": "US", "plant": plantName}}
	wantDesired := map[string]any{"power_level": 1.0}
	if err := s.awaitTwin(ctx, fmt.Sprintf("the hub holds tags %s and desired %s", compact(wantTags), compact(wantDesired)),
		func(t *twin) bool {
			return reflect.DeepEqual(t.Tags, wantTags) && reflect.DeepEqual(t.desired(), wantDesired)
		}); err != nil {
		return err
	}
	after, err := s.hub.twin(ctx)
	if err != nil {
		return err
	}
	s.out.evidence("the hub, GET /twins/"+deviceID, after.show())
	if after.ETag == before.ETag {
		return &unmetError{expected: "the etag moved", seen: "it is still " + after.ETag}
	}
	s.out.note("The etag moved from %s to %s.", before.ETag, after.ETag)
	if err := s.awaitReady(ctx); err != nil {
		return err
	}
	return s.showTable(ctx, "hubconnections,devicetwins")
}

// applyEverything does what a user would: a Secret, then the manifests.
func (s *story) applyEverything(ctx context.Context) error {
	var leftOut []string
	switch s.opts.breakStep {
	case "b":
		leftOut = []string{deviceTwinKind}
	case "c":
		leftOut = []string{"TwinQuery"}
	}
	if err := s.prepareManifests(ctx, leftOut...); err != nil {
		return err
	}
	s.applied = s.opts.breakStep != "b"
	return s.applyManifests(ctx)
}

// prepareManifests makes the Secret, and the overlay that the manifests are applied by.
func (s *story) prepareManifests(ctx context.Context, leftOut ...string) error {
	file := s.dirs.in("connection-string")
	// The policy "service" can read and write twins, and nothing else.
	if err := os.WriteFile(file, []byte(s.emulator.Policies["service"]), 0o600); err != nil {
		return err
	}
	if _, err := s.kubectl.Run(ctx, "create", "secret", "generic", secretName, "--from-file=connectionString="+file); err != nil {
		return err
	}
	caPEM, err := os.ReadFile(s.emulator.CAFile())
	if err != nil {
		return err
	}
	return s.manifests.writeOverlay(caPEM, leftOut...)
}

func (s *story) applyManifests(ctx context.Context) error {
	printed, err := s.kubectl.Run(ctx, "apply", "-k", s.manifests.dir)
	if err != nil {
		return err
	}
	s.out.evidence("kubectl apply -k", printed)
	return nil
}

// killBetweenRecordAndWrite kills the manager when it has recorded what it is
// about to own and has not yet written it to the hub.
func (s *story) killBetweenRecordAndWrite(ctx context.Context, fault string, before *twin) error {
	s.out.note("Waiting until the ownership record is written and the update is held.")
	if err := s.await(ctx, "the DeviceTwin carries the ownership record, status.record, and the hub holds one update",
		func(ctx context.Context) (string, bool, error) {
			var object deviceTwin
			if err := s.kubectl.Get(ctx, &object, "devicetwin", deviceID); err != nil {
				return "", false, err
			}
			held, err := s.held(ctx, fault)
			record := object.Status.Record
			return fmt.Sprintf("record %q, %d updates held", record, held), record != "" && held == 1, err
		}); err != nil {
		return err
	}
	if t, err := s.hub.twin(ctx); err != nil {
		return err
	} else if t.ETag != before.ETag || len(t.Tags) > 0 || len(t.desired()) > 0 {
		return &unmetError{expected: "a twin that is still untouched", seen: t.show()}
	}
	s.out.note("Recorded, held, and the twin is still untouched: the manager is killed (SIGKILL) now.")
	if err := s.operator.kill(ctx); err != nil {
		return err
	}
	if err := s.await(ctx, "the hub drops the dead manager's update", func(ctx context.Context) (string, bool, error) {
		held, err := s.held(ctx, fault)
		return fmt.Sprintf("%d updates held", held), held == 0, err
	}); err != nil {
		return err
	}
	if err := s.emulator.RemoveFault(ctx, fault); err != nil {
		return err
	}
	if t, err := s.hub.twin(ctx); err != nil {
		return err
	} else if t.ETag != before.ETag {
		return &unmetError{expected: "the dropped update was not applied", seen: t.show()}
	}
	s.out.note("Its update was dropped, not applied. The manager is started again.")
	return s.operator.start()
}

// held is how many requests a fault holds right now.
func (s *story) held(ctx context.Context, fault string) (int, error) {
	state, err := s.emulator.FaultState(ctx, fault)
	return state.Held, err
}

// awaitTwin waits for the twin on the hub to satisfy a condition.
func (s *story) awaitTwin(ctx context.Context, expected string, satisfied func(*twin) bool) error {
	return s.await(ctx, expected, func(ctx context.Context) (string, bool, error) {
		t, err := s.hub.twin(ctx)
		if err != nil {
			return "", false, err
		}
		return fmt.Sprintf("tags %s, desired %s, reported %s", compact(t.Tags), compact(t.desired()), compact(t.reported())), satisfied(t), nil
	})
}

// awaitReady waits until the DeviceTwin says that its newest spec is on the
// hub.
func (s *story) awaitReady(ctx context.Context) error {
	return s.await(ctx, "the DeviceTwin is Ready", func(ctx context.Context) (string, bool, error) {
		var object deviceTwin
		if err := s.kubectl.Get(ctx, &object, "devicetwin", deviceID); err != nil {
			return "", false, err
		}
		ready, seen := readiness(object.Status.Conditions)
		current := object.Status.ObservedGeneration == object.Metadata.Generation
		return fmt.Sprintf("%s, generation %d observed of %d", seen, object.Status.ObservedGeneration, object.Metadata.Generation), ready && current, nil
	})
}
