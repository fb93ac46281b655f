package doctor

import (
	"context"
	"strings"

	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
)

// right is what an account may do with a resource.
type right struct {
	group, resource, subresource string
	verbs                        []string
}

func ours(resource string, verbs ...string) right {
	name, sub, _ := strings.Cut(resource, "/")
	return right{group: v1alpha1.SchemeGroupVersion.Group, resource: name, subresource: sub, verbs: verbs}
}

// ownRights are what the commands of this program need.
func (e *examination) ownRights(ctx context.Context) {
	wanted := []right{ours("devicetwins", "get", "list", "watch", "patch"), ours("hubconnections", "get", "list", "patch")}
	missing, err := e.missing(ctx, wanted, func(ctx context.Context, at authorizationv1.ResourceAttributes) (bool, error) {
		at.Namespace = e.namespace
		review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &at}}
		err := e.client.Create(ctx, review)
		return review.Status.Allowed, err
	})
	switch {
	case err != nil:
		e.add(Warn, "your rights", "not checked: "+cluster.Explained(err).Error())
	case len(missing) > 0:
		e.add(Warn, "your rights", "in namespace "+e.namespace+" you may not "+strings.Join(missing, ", ")+": ask for the roles in config/rbac")
	default:
		e.add(OK, "your rights", "you may read and change DeviceTwins and HubConnections in namespace "+e.namespace)
	}
}

// managerRights are what the manager cannot do without.
func (e *examination) managerRights(ctx context.Context) {
	wanted := []right{
		ours("devicetwins", "get", "list", "watch", "patch"), ours("hubconnections", "get", "list", "watch"), ours("twinqueries", "get", "list", "watch"),
		ours("devicetwins/status", "patch"), ours("hubconnections/status", "patch"), ours("twinqueries/status", "patch"),
		ours("devicetwinsets", "get", "list", "watch", "patch"), ours("devicetwinsets/status", "patch"),
		ours("twinrequests", "get", "list", "watch", "delete"), ours("twinrequests/status", "patch"),
		{group: "apps", resource: "controllerrevisions", verbs: []string{"list", "create", "delete"}},
		{resource: "secrets", verbs: []string{"get", "list", "watch"}}, {group: "events.k8s.io", resource: "events", verbs: []string{"create"}},
	}
	for _, account := range e.facts.accounts {
		subject := "rights of ServiceAccount " + account
		missing, err := e.missing(ctx, wanted, func(ctx context.Context, at authorizationv1.ResourceAttributes) (bool, error) {
			at.Namespace = e.namespace
			review := &authorizationv1.SubjectAccessReview{Spec: authorizationv1.SubjectAccessReviewSpec{
				ResourceAttributes: &at, User: "system:serviceaccount:" + strings.Replace(account, "/", ":", 1),
				Groups: []string{"system:serviceaccounts", "system:authenticated"},
			}}
			err := e.client.Create(ctx, review)
			return review.Status.Allowed, err
		})
		switch {
		case apierrors.IsForbidden(err):
			e.add(Warn, subject, "not checked: you may not create subjectaccessreviews")
		case err != nil:
			e.add(Warn, subject, "not checked: "+cluster.Explained(err).Error())
		case len(missing) > 0:
			e.add(Fail, subject, "in namespace "+e.namespace+" it may not "+strings.Join(missing, ", ")+": apply the roles of the manager's release")
		default:
			e.add(OK, subject, "it may do its work in namespace "+e.namespace)
		}
	}
}

// missing are the rights that are not there.
func (e *examination) missing(ctx context.Context, wanted []right, allowed func(context.Context, authorizationv1.ResourceAttributes) (bool, error)) ([]string, error) {
	var out []string
	for _, r := range wanted {
		for _, verb := range r.verbs {
			ok, err := allowed(ctx, authorizationv1.ResourceAttributes{Group: r.group, Resource: r.resource, Subresource: r.subresource, Verb: verb})
			if err != nil {
				return nil, err
			}
			if !ok {
				out = append(out, verb+" "+strings.TrimSuffix(r.resource+"/"+r.subresource, "/"))
			}
		}
	}
	return out, nil
}
