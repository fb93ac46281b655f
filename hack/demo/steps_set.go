package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

const (
	setName = "line-7"
	// setManifest declares one property of all devices of a line.
	setManifest = `apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwinSet
metadata: {name: ` + setName + `}
spec:
  hubRef: {name: hub}
  selector: {where: tags.line = %d}
  maxDevices: 250
  template:
    desired: {` + pumpProperty + `: %s}
  rollout:
    waves:
    - {name: canary, where: tags.ring = 'canary', then: Approve}
    success: {percent: 100}
`
	// The speeds that are declared: the one that stays, and the one that is taken back.
	firstSpeed, secondSpeed = "10", "12"
	// setUpdates is what the step costs the hub: each device once, and the canaries there and back.
	setUpdates = allPumps + 2*canaries
)

// deviceTwinSet is what the story reads of a DeviceTwinSet.
type deviceTwinSet struct {
	Metadata struct {
		Generation int64 `json:"generation"`
	} `json:"metadata"`
	Status v1alpha1.DeviceTwinSetStatus `json:"status"`
}

// rollout is step j.
func (s *story) rollout(ctx context.Context) error {
	began := time.Now()
	line := newPumps()
	if s.broken() {
		s.out.note("None of the %d devices connects.", allPumps)
	} else {
		var err error
		if line, err = s.startPumps(ctx); err != nil {
			return err
		}
		if err := s.await(ctx, fmt.Sprintf("%d devices are connected over MQTT", allPumps), func(context.Context) (string, bool, error) {
			return fmt.Sprint(line.here()), line.here() == allPumps, nil
		}); err != nil {
			return err
		}
		s.out.note("%d devices of line %d are connected over MQTT, %s after they were switched on.", allPumps, pumpLine, seconds(time.Since(began)))
	}
	for _, tell := range []func(context.Context, *pumps) error{s.canariesFirst, s.approved, s.takenBack, s.declaredAgain} {
		if err := tell(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// canariesFirst applies the manifest, and nothing but the canaries hears of it.
func (s *story) canariesFirst(ctx context.Context, line *pumps) error {
	if err := s.declareSpeed(ctx, firstSpeed); err != nil {
		return err
	}
	if _, err := s.awaitApproval(ctx, line, firstSpeed, ""); err != nil {
		return err
	}
	return s.speeds(ctx, line, firstSpeed, canaries)
}

// approved has the rest follow.
func (s *story) approved(ctx context.Context, line *pumps) error {
	set, err := s.set(ctx)
	if err != nil {
		return err
	}
	if err := s.annotate(ctx, v1alpha1.ApproveAnnotation, set.Status.Revision+"/"+set.Status.Wave); err != nil {
		return err
	}
	if err := s.awaitPhase(ctx, v1alpha1.SetComplete, fmt.Sprintf("%d devices have acknowledged", allPumps),
		func(now *deviceTwinSet) bool { return now.Status.Counts.Acknowledged == allPumps }); err != nil {
		return err
	}
	return s.speeds(ctx, line, firstSpeed, allPumps)
}

// takenBack declares another speed, which the canaries try, and takes it back.
func (s *story) takenBack(ctx context.Context, line *pumps) error {
	before, err := s.set(ctx)
	if err != nil {
		return err
	}
	if err := s.declareSpeed(ctx, secondSpeed); err != nil {
		return err
	}
	set, err := s.awaitApproval(ctx, line, secondSpeed, before.Status.Revision)
	if err != nil {
		return err
	}
	if err := s.speeds(ctx, line, secondSpeed, canaries); err != nil {
		return err
	}
	if err := s.annotate(ctx, v1alpha1.RolloutAnnotation, set.Status.Revision+"/rollback"); err != nil {
		return err
	}
	if err := s.awaitPhase(ctx, v1alpha1.SetRolledBack, "the second revision is named as failed",
		func(now *deviceTwinSet) bool { return now.Status.FailedRevision == set.Status.Revision }); err != nil {
		return err
	}
	if err := s.awaitSpeed(ctx, line, firstSpeed, allPumps); err != nil {
		return err
	}
	tried, others := line.everHeard(secondSpeed, canaryKind)
	s.out.note("%s %s was ever told to %d canaries and to %d of the other %d devices.", pumpProperty, secondSpeed, tried, others, otherPumps)
	if tried != canaries || others != 0 {
		return &unmetError{expected: fmt.Sprintf("%d canaries and no other device were told %s", canaries, secondSpeed), seen: fmt.Sprintf("%d and %d", tried, others)}
	}
	return s.speeds(ctx, line, firstSpeed, allPumps)
}

// declaredAgain puts the manifest back as well, which changes nothing for any device.
func (s *story) declaredAgain(ctx context.Context, line *pumps) error {
	if err := s.declareSpeed(ctx, firstSpeed); err != nil {
		return err
	}
	if err := s.awaitPhase(ctx, v1alpha1.SetComplete, "no revision is named as failed",
		func(now *deviceTwinSet) bool { return now.Status.FailedRevision == "" }); err != nil {
		return err
	}
	return s.speeds(ctx, line, firstSpeed, allPumps)
}

func (s *story) declareSpeed(ctx context.Context, speed string) error {
	printed, err := s.kubectl.RunWithInput(ctx, strings.NewReader(fmt.Sprintf(setManifest, pumpLine, speed)), "apply", "-f", "-")
	if err != nil {
		return err
	}
	s.out.evidence(fmt.Sprintf("kubectl apply -f -, with template.desired.%s %s", pumpProperty, speed), printed)
	return nil
}

func (s *story) annotate(ctx context.Context, annotation, value string) error {
	printed, err := s.kubectl.Run(ctx, "annotate", "--overwrite", "devicetwinset", setName, annotation+"="+value)
	if err != nil {
		return err
	}
	s.out.evidence(fmt.Sprintf("kubectl annotate devicetwinset %s %s=%s", setName, annotation, value), printed)
	return nil
}

func (s *story) set(ctx context.Context) (*deviceTwinSet, error) {
	var object deviceTwinSet
	return &object, s.kubectl.Get(ctx, &object, "devicetwinset", setName)
}

// awaitApproval waits until the canaries of a revision that is not the one before have acknowledged.
func (s *story) awaitApproval(ctx context.Context, line *pumps, speed, before string) (*deviceTwinSet, error) {
	var set *deviceTwinSet
	err := s.awaitPhase(ctx, v1alpha1.SetAwaitingApproval, fmt.Sprintf("%d canaries have acknowledged", canaries), func(now *deviceTwinSet) bool {
		set = now
		waves := now.Status.Waves
		return now.Status.Revision != before && len(waves) > 0 && waves[0].Acknowledged == canaries
	})
	if err != nil {
		return nil, err
	}
	return set, s.awaitSpeed(ctx, line, speed, canaries)
}

// awaitPhase waits until the set's status is of its newest generation, in a phase, and as text says.
func (s *story) awaitPhase(ctx context.Context, phase v1alpha1.SetPhase, text string, so func(*deviceTwinSet) bool) error {
	began := time.Now()
	if err := s.await(ctx, fmt.Sprintf("DeviceTwinSet %s is in phase %s, and %s", setName, phase, text), func(ctx context.Context) (string, bool, error) {
		now, err := s.set(ctx)
		if err != nil {
			return "", false, err
		}
		status := &now.Status
		seen := fmt.Sprintf("phase %s, revision %s, counts %s, waves %s", status.Phase, status.Revision, compact(status.Counts), compact(status.Waves))
		return seen, status.Phase == phase && status.ObservedGeneration == now.Metadata.Generation && so(now), nil
	}); err != nil {
		return err
	}
	s.out.note("Phase %s, %s later.", phase, seconds(time.Since(began)))
	return s.showTable(ctx, "devicetwinset", setName)
}

// awaitSpeed waits until so many devices were told a speed last and report it.
func (s *story) awaitSpeed(ctx context.Context, line *pumps, speed string, want int) error {
	return s.await(ctx, fmt.Sprintf("%d devices report %s %s", want, pumpProperty, speed), func(context.Context) (string, bool, error) {
		told, reported := line.at(speed)
		return fmt.Sprintf("%d were told, %d report it", told, reported), told == want && reported == want, nil
	})
}

// speeds shows what devices and hub say, and how many updates of twins there were in the step.
func (s *story) speeds(ctx context.Context, line *pumps, speed string, want int) error {
	told, reported := line.at(speed)
	s.out.note("the devices: %d were told %s %s last, %d report it", told, pumpProperty, speed, reported)
	counters, err := s.emulator.Counters(ctx)
	if err != nil {
		return err
	}
	s.out.note("the hub: %d twin updates in this step so far", counters["updateTwin"].Calls-s.updates)
	if told != want || reported != want {
		return &unmetError{expected: fmt.Sprintf("%d devices report %s %s", want, pumpProperty, speed), seen: fmt.Sprintf("%d were told, %d report it", told, reported)}
	}
	return nil
}
