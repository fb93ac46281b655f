package cluster

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/pager"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

const (
	// pageSize is how many objects are read with one request: some 20 MB. The API server has the first page in its cache,
	// and reads what comes after it from etcd, for several times the work.
	pageSize = 5000
	// completed is how many names are offered for completion at most.
	completed = 500
)

// EachTwin calls a function for the DeviceTwins that options select, in the order of their names. The next page is read
// while one is worked on.
func EachTwin(ctx context.Context, c client.Reader, do func(*v1alpha1.DeviceTwin) error, options ...client.ListOption) error {
	return each(ctx, c, func() client.ObjectList { return &v1alpha1.DeviceTwinList{} }, do, options...)
}

// EachHub is the same for HubConnections.
func EachHub(ctx context.Context, c client.Reader, do func(*v1alpha1.HubConnection) error, options ...client.ListOption) error {
	return each(ctx, c, func() client.ObjectList { return &v1alpha1.HubConnectionList{} }, do, options...)
}

// EachQuery is the same for TwinQueries.
func EachQuery(ctx context.Context, c client.Reader, do func(*v1alpha1.TwinQuery) error, options ...client.ListOption) error {
	return each(ctx, c, func() client.ObjectList { return &v1alpha1.TwinQueryList{} }, do, options...)
}

// EachSet is the same for DeviceTwinSets.
func EachSet(ctx context.Context, c client.Reader, do func(*v1alpha1.DeviceTwinSet) error, options ...client.ListOption) error {
	return each(ctx, c, func() client.ObjectList { return &v1alpha1.DeviceTwinSetList{} }, do, options...)
}

func each[T client.Object](ctx context.Context, c client.Reader, newList func() client.ObjectList, do func(T) error, options ...client.ListOption) error {
	pages := pager.New(func(ctx context.Context, raw metav1.ListOptions) (runtime.Object, error) {
		list := newList()
		return list, c.List(ctx, list, append(options, &page{limit: raw.Limit, token: raw.Continue})...)
	})
	pages.PageSize = pageSize
	return Explained(pages.EachListItem(ctx, metav1.ListOptions{}, func(obj runtime.Object) error {
		item, ok := obj.(T)
		if !ok {
			return fmt.Errorf("a list holds a %T", obj)
		}
		return do(item)
	}))
}

// page asks for a part of a list.
type page struct {
	limit int64
	token string
}

// ApplyToList implements client.ListOption.
func (p *page) ApplyToList(options *client.ListOptions) {
	options.Limit, options.Continue = p.limit, p.token
}

// names are those of the objects of a kind, for completion: only their metadata is read.
func names(ctx context.Context, c client.Reader, group schema.GroupVersion, kind, namespace string) ([]string, error) {
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(group.WithKind(kind + "List"))
	if err := c.List(ctx, list, client.InNamespace(namespace), client.Limit(completed)); err != nil {
		return nil, err
	}
	var found []string
	err := meta.EachListItem(list, func(obj runtime.Object) error {
		accessor, err := meta.Accessor(obj)
		if err == nil {
			found = append(found, accessor.GetName())
		}
		return err
	})
	return found, err
}
