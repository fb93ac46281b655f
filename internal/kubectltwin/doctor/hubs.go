package doctor

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

func (e *examination) hubs(ctx context.Context) {
	namespace := e.namespace
	if e.all {
		namespace = ""
	}
	count := 0
	err := cluster.EachHub(ctx, e.client, func(conn *v1alpha1.HubConnection) error {
		count++
		subject := "HubConnection " + conn.Namespace + "/" + conn.Name
		e.secret(ctx, subject, conn)
		e.readiness(subject, conn)
		e.pressure(subject, conn)
		return nil
	}, client.InNamespace(namespace))
	switch {
	case apierrors.IsForbidden(err):
		e.add(Warn, "HubConnections", "not checked: "+err.Error())
	case err != nil:
		e.add(Fail, "HubConnections", err.Error())
	case count == 0 && !e.all:
		e.add(Warn, "HubConnections", "there is none in namespace "+namespace+"; -A looks into all")
	case count == 0:
		e.add(Warn, "HubConnections", "there is none")
	}
}

// secret looks for the Secret of a HubConnection, and reads its metadata alone.
func (e *examination) secret(ctx context.Context, subject string, conn *v1alpha1.HubConnection) {
	ref := conn.Spec.Auth.ConnectionStringSecretRef
	if ref == nil {
		return
	}
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	err := e.client.Get(ctx, client.ObjectKey{Namespace: conn.Namespace, Name: ref.Name}, secret)
	switch {
	case apierrors.IsNotFound(err):
		e.add(Fail, subject, "its Secret "+ref.Name+" is not there: create it, with the connection string under the key "+ref.Key)
	case apierrors.IsForbidden(err):
		e.add(Warn, subject, "whether its Secret "+ref.Name+" is there is not checked: you may not get secrets")
	case err != nil:
		e.add(Fail, subject, cluster.Explained(err).Error())
	default:
		e.add(OK, subject, "its Secret "+ref.Name+" is there")
	}
}

func (e *examination) readiness(subject string, conn *v1alpha1.HubConnection) {
	ready := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		e.add(Fail, subject, "no controller has looked at it yet: does a manager run?")
	case ready.Status != metav1.ConditionTrue:
		e.add(Fail, subject, "is not ready: "+ready.Reason+": "+ready.Message)
	case conn.Status.ObservedGeneration != conn.Generation:
		e.add(Warn, subject, "was changed, and no controller has looked at it since")
	default:
		e.add(OK, subject, "is ready: "+ready.Message)
	}
}

// pressure is about conditions that are there while something is not as it should be.
func (e *examination) pressure(subject string, conn *v1alpha1.HubConnection) {
	for _, kind := range []string{v1alpha1.ConditionPaused, v1alpha1.ConditionQuotaPressure} {
		if c := meta.FindStatusCondition(conn.Status.Conditions, kind); c != nil && c.Status == metav1.ConditionTrue {
			e.add(Warn, subject, kind+": "+c.Message)
		}
	}
	c := meta.FindStatusCondition(conn.Status.Conditions, v1alpha1.ConditionReadBackLate)
	if c == nil || c.Status != metav1.ConditionTrue {
		return
	}
	age := ""
	if conn.Status.ReadBackAsOf != nil {
		age = fmt.Sprintf("last complete %s ago, ", duration.HumanDuration(e.access.Clock.Since(conn.Status.ReadBackAsOf.Time)))
	}
	e.add(Fail, subject, "its hub is read back late: "+age+c.Message)
}
