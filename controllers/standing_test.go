package controllers

import (
	"context"
	"fmt"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/clock"
	clocktesting "k8s.io/utils/clock/testing"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/readback"
	"github.com/devicetwin-io/devicetwin-operator/internal/shard"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/kstatus"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/reasons"
	"github.com/devicetwin-io/devicetwin-operator/internal/testenv/sessions"
)

// The words of the table of failures.
const (
	kept      = "kept"      // the fleet goes on with the session
	confirmed = "confirmed" // and loses it once a second probe bears the refusal out
	taken     = "taken"     // the fleet loses it
)

// afterAFailure is what becomes of a HubConnection whose probe fails for a reason: what
// its conditions say at its first look and when it worked before, and what becomes of
// the session that worked. Without a session none is kept.
var afterAFailure = map[hub.Reason]struct {
	first, worked string // the condition besides Ready
	session       string
	unopened      bool // it fails before there is a session
}{
	hub.ReasonUnknownHost:               {first: stalledNow, worked: reconcilingNow, session: kept},
	hub.ReasonUnreachable:               {first: reconcilingNow, worked: reconcilingNow, session: kept},
	hub.ReasonServerError:               {first: reconcilingNow, worked: reconcilingNow, session: kept},
	hub.ReasonUnexpectedAnswer:          {first: reconcilingNow, worked: reconcilingNow, session: kept},
	hub.ReasonThrottled:                 {first: reconcilingNow, worked: reconcilingNow, session: kept},
	hub.ReasonQuotaExceeded:             {first: reconcilingNow, worked: reconcilingNow, session: kept},
	hub.ReasonRefused:                   {first: stalledNow, worked: stalledNow, session: kept},
	hub.ReasonDeviceNotFound:            {first: stalledNow, worked: stalledNow, session: kept},
	hub.ReasonDeviceOffline:             {first: reconcilingNow, worked: reconcilingNow, session: kept},
	hub.ReasonDeviceTimeout:             {first: reconcilingNow, worked: reconcilingNow, session: kept},
	hub.ReasonAlreadyExists:             {first: reconcilingNow, worked: reconcilingNow, session: kept},
	hub.ReasonPreconditionFailed:        {first: reconcilingNow, worked: reconcilingNow, session: kept},
	hub.ReasonUnauthorized:              {first: stalledNow, worked: reconcilingNow, session: confirmed},
	hub.ReasonForbidden:                 {first: stalledNow, worked: reconcilingNow, session: confirmed},
	hub.ReasonUntrustedCertificate:      {first: stalledNow, worked: reconcilingNow, session: confirmed},
	hub.ReasonMalformedConnectionString: {first: stalledNow, worked: stalledNow, session: taken, unopened: true},
	hub.ReasonHostNotAllowed:            {first: stalledNow, worked: stalledNow, session: taken, unopened: true},
	hub.ReasonInvalidCABundle:           {first: stalledNow, worked: stalledNow, session: taken, unopened: true},
}

const (
	reconcilingNow = v1alpha1.ConditionReconciling
	stalledNow     = v1alpha1.ConditionStalled
)

// probed is a HubConnection of a manager, whose probes fail as a test says.
type probed struct {
	*WithT
	r       *hubConnectionReconciler
	clock   *clocktesting.FakePassiveClock
	conn    *v1alpha1.HubConnection
	session hub.Session
}

var probedKey = types.NamespacedName{Namespace: "ns", Name: "hub"}

func newProbed(t *testing.T) *probed {
	t.Helper()
	now := clocktesting.NewFakePassiveClock(time.Now())
	return &probed{
		WithT: NewWithT(t), clock: now,
		conn:    &v1alpha1.HubConnection{ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "hub", Generation: 1}},
		session: sessions.To("h", dispatch.New(dispatch.Options{}).Share(dispatch.S1())),
		r: &hubConnectionReconciler{
			connections: hubaccess.New(nil, nil, shard.Shard{}, now), probes: newProbes(),
			readBack: readback.NewGroup(clock.RealClock{}, readback.Callbacks{}),
			report:   outcome.Reporter{Clock: now, Recorder: events.NewFakeRecorder(100), Server: &outcome.APIServer{}},
		},
	}
}

// look has a probe end in an error, or in success, and returns the condition besides
// Ready.
func (p *probed) look(session hub.Session, err error) string {
	out := outcome.Of(err)
	if out.Class == outcome.Succeeded {
		out.Message = "it works"
		p.r.probes.passed(client.ObjectKeyFromObject(p.conn), session, p.clock.Now())
	}
	had := p.r.standing(p.conn, session)
	out, doubted := p.r.judge(p.conn, session, had, out)
	if session != nil {
		p.conn.Status.HostName = session.Host()
	}
	p.conn.Status.ObservedGeneration = p.conn.Generation
	p.r.report.SetConditions(p.conn, out)
	p.Expect(kstatus.Check(p.conn)).To(Succeed())
	if !doubted {
		p.r.publish(context.Background(), p.conn, session, had, out)
	}
	for _, condition := range []string{stalledNow, reconcilingNow} {
		if found := kstatus.Current(p.conn, condition); found != nil {
			return condition
		}
	}
	return ""
}

// used is the session that the fleet uses.
func (p *probed) used() hub.Session {
	known, _ := p.r.connections.Known(probedKey)
	return known.Session
}

func TestWhatTakesASessionAway(t *testing.T) {
	t.Parallel()
	for _, reason := range reasons.OfHub(t, "../internal/hub/errors.go") {
		if outcome.Of(&hub.Error{Reason: reason}).Class == outcome.Unseen {
			continue // nothing is reported
		}
		t.Run(string(reason), func(t *testing.T) {
			t.Parallel()
			want, listed := afterAFailure[reason]
			failure := &hub.Error{Reason: reason}
			NewWithT(t).Expect(listed).To(BeTrue(), "what it takes away has to be said")
			open := func(p *probed) hub.Session {
				if want.unopened {
					return nil
				}
				return p.session
			}

			first := newProbed(t)
			first.Expect(first.look(open(first), failure)).To(Equal(want.first))
			first.Expect(first.used()).To(BeNil(), "nothing was proved yet")

			p := newProbed(t)
			p.look(p.session, nil)
			p.Expect(p.used()).To(Equal(p.session))
			p.Expect(p.look(open(p), failure)).To(Equal(want.worked))
			p.Expect(p.used() == nil).To(Equal(want.session == taken))
			p.clock.SetTime(p.clock.Now().Add(confirmAfter))
			again := p.look(open(p), failure)
			p.Expect(p.used() == nil).To(Equal(want.session != kept))
			if want.session == confirmed {
				p.Expect(again).To(Equal(stalledNow))
			}

			restarted := newProbed(t)
			restarted.conn.Status = first.conn.Status
			restarted.conn.Status.HostName, restarted.conn.Status.Conditions = "h", nil
			restarted.look(open(restarted), failure)
			restarted.Expect(restarted.used() != nil).To(Equal(want.session == kept), "its status says that it worked")
		})
	}
}

// TestARefusalIsConfirmed by another one of the same session, some seconds later, with
// no proof in between.
func TestARefusalIsConfirmed(t *testing.T) {
	t.Parallel()
	refused, unreachable := &hub.Error{Reason: hub.ReasonUnauthorized}, &hub.Error{Reason: hub.ReasonUnreachable}
	p := newProbed(t)
	p.look(p.session, nil)
	p.look(p.session, refused)
	p.look(p.session, refused)
	p.Expect(p.used()).NotTo(BeNil(), "at once is too soon")
	p.clock.SetTime(p.clock.Now().Add(confirmAfter))
	p.look(p.session, nil)
	p.Expect(p.look(p.session, refused)).To(Equal(reconcilingNow))
	p.Expect(p.used()).NotTo(BeNil(), "it was accepted meanwhile")
	p.clock.SetTime(p.clock.Now().Add(confirmAfter))
	p.look(p.session, unreachable)
	p.r.probes.expire(probedKey) // the read-back failed
	p.look(p.session, refused)
	p.Expect(p.used()).To(BeNil(), "an outage in between proves nothing")
}

// TestAnotherCredentialInAnOutage goes on with the hub that worked; on another host, and
// refused, it does not.
func TestAnotherCredentialInAnOutage(t *testing.T) {
	t.Parallel()
	turns := dispatch.New(dispatch.Options{}).Share(dispatch.S1())
	another, elsewhere := sessions.To("h", turns), sessions.To("elsewhere", turns)
	p := newProbed(t)
	p.look(p.session, nil)
	p.look(another, &hub.Error{Reason: hub.ReasonUnreachable})
	p.Expect(p.used()).To(Equal(another))
	p.look(elsewhere, &hub.Error{Reason: hub.ReasonUnreachable})
	p.Expect(p.used()).To(BeNil())
}

// TestWhatIsHeardSecondHand costs no session, at the first look or later.
func TestWhatIsHeardSecondHand(t *testing.T) {
	t.Parallel()
	for _, reason := range reasons.OfHub(t, "../internal/hub/errors.go") {
		if outcome.Of(&hub.Error{Reason: reason}).Class == outcome.Unseen {
			continue // nothing is reported
		}
		p := newProbed(t)
		heard := fmt.Errorf("%w: %w", &hub.Error{Reason: reason}, &dispatch.BrokenError{})
		p.Expect(outcome.Of(heard).Class).To(Equal(outcome.Transient), "%s", reason)
		p.look(p.session, nil)
		for range 3 {
			p.look(p.session, heard)
			p.clock.SetTime(p.clock.Now().Add(confirmAfter))
		}
		p.Expect(p.used()).NotTo(BeNil(), "%s", reason)
	}
}
