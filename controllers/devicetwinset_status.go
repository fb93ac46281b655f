package controllers

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
)

// setOutcome is what the phase of a rollout means.
func setOutcome(obj *v1alpha1.DeviceTwinSet) outcome.Outcome {
	status := &obj.Status
	counts := status.Counts
	written := fmt.Sprintf("%d of %d devices hold revision %s", counts.Written, counts.Selected, status.Revision)
	wave := "wave " + status.Wave
	switch status.Phase {
	case v1alpha1.SetComplete:
		return outcome.Outcome{Class: outcome.Succeeded, Reason: v1alpha1.ReasonSucceeded, Message: written}
	case v1alpha1.SetCompletedWithOffline:
		return outcome.Outcome{Class: outcome.Succeeded, Reason: v1alpha1.ReasonSucceeded,
			Message: fmt.Sprintf("%s; %d of them have not been connected since", written, counts.Offline)}
	case v1alpha1.SetSoaking:
		return outcome.Outcome{Class: outcome.Waiting, Reason: v1alpha1.ReasonSoaking, Message: waveMessage(obj) + " and is watched for its soak time"}
	case v1alpha1.SetAwaitingApproval:
		return outcome.Outcome{Class: outcome.Waiting, Reason: v1alpha1.ReasonAwaitingApproval, Message: fmt.Sprintf(
			"%s; approve what follows with: kubectl twin approve set/%s, or the annotation %s=%s/%s",
			waveMessage(obj), obj.Name, v1alpha1.ApproveAnnotation, status.Revision, status.Wave)}
	case v1alpha1.SetPaused:
		return outcome.Outcome{Class: outcome.Waiting, Reason: v1alpha1.ReasonRolloutPaused, Message: "spec.rollout.paused is true: nothing is written; " + written}
	case v1alpha1.SetFailed:
		return outcome.Outcome{Class: outcome.Stalled, Reason: v1alpha1.ReasonRolloutFailed, Message: fmt.Sprintf(
			"too many devices of %s failed: %s; nothing more is written of revision %s. status.examples names some. Edit the template, or set the annotation %s to %s/resume or %s/rollback",
			wave, failures(obj), status.Revision, v1alpha1.RolloutAnnotation, status.Revision, status.Revision)}
	case v1alpha1.SetAborted:
		return outcome.Outcome{Class: outcome.Stalled, Reason: v1alpha1.ReasonRolloutAborted, Message: fmt.Sprintf(
			"revision %s was aborted: %s. Edit the template, or set the annotation %s to %s/resume or %s/rollback",
			status.Revision, written, v1alpha1.RolloutAnnotation, status.Revision, status.Revision)}
	case v1alpha1.SetRollingBack:
		return outcome.Outcome{Class: outcome.Waiting, Reason: v1alpha1.ReasonRollingBack, Message: fmt.Sprintf(
			"revision %s is taken back: %s", status.FailedRevision, written)}
	case v1alpha1.SetRolledBack:
		return outcome.Outcome{Class: outcome.Stalled, Reason: v1alpha1.ReasonRolledBack, Message: fmt.Sprintf(
			"revision %s was taken back: %s. Edit the template, or set the annotation %s to %s/resume",
			status.FailedRevision, written, v1alpha1.RolloutAnnotation, status.FailedRevision)}
	case v1alpha1.SetProgressing:
	}
	return outcome.Outcome{Class: outcome.Waiting, Reason: v1alpha1.ReasonProgressing, Message: wave + " is written: " + written}
}

// waveMessage says that the wave is complete. One of no devices is no surprise for anyone who reads it.
func waveMessage(obj *v1alpha1.DeviceTwinSet) string {
	for _, wave := range obj.Status.Waves {
		if wave.Name == obj.Status.Wave {
			if wave.Written == 0 {
				return "wave " + wave.Name + " has no devices"
			}
			return fmt.Sprintf("wave %s is complete with %d devices", wave.Name, wave.Written)
		}
	}
	return "wave " + obj.Status.Wave + " is complete"
}

func failures(obj *v1alpha1.DeviceTwinSet) string {
	for _, wave := range obj.Status.Waves {
		if wave.Name == obj.Status.Wave {
			return fmt.Sprintf("%d failed, %d acknowledged, %d were written", wave.Failed-wave.Forgiven, wave.Acknowledged, wave.Written)
		}
	}
	return "none is known by name"
}

// statusPace holds statuses back in which nothing but numbers moved. It is safe for concurrent use.
type statusPace struct {
	mu   sync.Mutex
	last map[types.NamespacedName]time.Time
}

func newStatusPace() *statusPace { return &statusPace{last: map[types.NamespacedName]time.Time{}} }

// left is how long the status waits yet; 0 to be written now.
func (p *statusPace) left(stored *storedSet, urgent bool, now time.Time) time.Duration {
	if urgent || saysElse(stored.held, stored.obj) || equality.Semantic.DeepEqual(stored.held, stored.obj) {
		return 0
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return max(0, p.last[client.ObjectKeyFromObject(stored.obj)].Add(statusEvery).Sub(now))
}

func (p *statusPace) wrote(name types.NamespacedName, now time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.last[name] = now
}

func (p *statusPace) forget(name types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.last, name)
}

// saysElse tells whether conditions differ in more than their messages, or anything that is no number.
func saysElse(before, now *v1alpha1.DeviceTwinSet) bool {
	was, is := before.Status.DeepCopy(), now.Status.DeepCopy()
	for _, status := range []*v1alpha1.DeviceTwinSetStatus{was, is} {
		status.Counts, status.Waves, status.ETA, status.ObservedAt, status.InFlight, status.Examples = v1alpha1.SetCounts{}, nil, nil, nil, nil, nil
		for i := range status.Conditions {
			status.Conditions[i].Message = ""
		}
	}
	return !equality.Semantic.DeepEqual(was, is)
}
