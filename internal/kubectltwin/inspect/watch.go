package inspect

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/compare"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

// follow shows twins, and each anew that changes. On a terminal the screen is drawn anew.
func (g *get) follow(ctx context.Context, c client.WithWatch, namespace string) error {
	options, err := g.watched(namespace)
	if err != nil {
		return err
	}
	view := &live{get: g, screen: g.access.Screen(), namespace: namespace}
	for {
		version, err := view.list(ctx, c, options)
		if err != nil {
			return ended(ctx, err)
		}
		if err := view.watch(ctx, c, options, version); err != nil {
			return ended(ctx, err)
		}
	}
}

// ended makes an interruption by the user the end of the command, not an error.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return cluster.Explained(err)
}

// watched is what is listed and watched. The API server watches one name, or all of a selection.
func (g *get) watched(namespace string) ([]client.ListOption, error) {
	if len(g.selection.Names) > 1 {
		return nil, errors.New("--watch takes one name, or a selection")
	}
	if len(g.selection.Names) == 1 {
		name := fields.OneTermEqualSelector(metav1.ObjectNameField, g.selection.Names[0])
		return []client.ListOption{client.InNamespace(namespace), client.MatchingFieldsSelector{Selector: name}}, nil
	}
	return g.selection.Options(namespace)
}

// live is what is on the screen.
type live struct {
	*get

	screen    *terminal.Screen
	namespace string
	twins     map[types.NamespacedName]*compare.Twin
}

func (l *live) list(ctx context.Context, c client.Client, options []client.ListOption) (version string, err error) {
	list := &v1alpha1.DeviceTwinList{}
	if err := c.List(ctx, list, options...); err != nil {
		return "", err
	}
	if names := l.selection.Names; len(names) == 1 && len(list.Items) == 0 && l.twins == nil {
		return "", apierrors.NewNotFound(v1alpha1.SchemeGroupVersion.WithResource("devicetwins").GroupResource(), names[0])
	}
	before := l.twins
	l.twins = map[types.NamespacedName]*compare.Twin{}
	for i := range list.Items {
		if err := l.take(&list.Items[i]); err != nil {
			return "", err
		}
	}
	if before == nil || l.screen.Interactive() {
		l.draw()
	}
	return list.ResourceVersion, nil
}

// take notes a twin, if it is one of the selection.
func (l *live) take(obj *v1alpha1.DeviceTwin) error {
	if !l.selection.Matches(obj, l.namespace) {
		return nil
	}
	t, err := compare.Of(obj)
	if err == nil {
		l.twins[client.ObjectKeyFromObject(obj)] = t
	}
	return err
}

// watch returns without an error when the API server ends the watch, as it does after a while.
func (l *live) watch(ctx context.Context, c client.WithWatch, options []client.ListOption, version string) error {
	watcher, err := c.Watch(ctx, &v1alpha1.DeviceTwinList{}, append(options, &client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: version}})...)
	if err != nil {
		return err
	}
	defer watcher.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case event, open := <-watcher.ResultChan():
			if !open {
				return nil
			}
			if event.Type == watch.Error {
				err := apierrors.FromObject(event.Object)
				if apierrors.IsGone(err) || apierrors.IsResourceExpired(err) {
					return nil
				}
				return err
			}
			if err := l.moved(event); err != nil {
				return err
			}
		}
	}
}

func (l *live) moved(event watch.Event) error {
	obj, ok := event.Object.(*v1alpha1.DeviceTwin)
	if !ok || event.Type == watch.Bookmark {
		return nil
	}
	key := client.ObjectKeyFromObject(obj)
	if event.Type == watch.Deleted {
		delete(l.twins, key)
	} else if err := l.take(obj); err != nil {
		return err
	}
	if l.screen.Interactive() {
		l.draw()
		return nil
	}
	if event.Type == watch.Deleted {
		l.screen.Line(terminal.Warning, "%s  devicetwin/%s is deleted", l.time(), obj.Name)
	} else if t := l.twins[key]; t != nil {
		l.screen.Line(terminal.Faint, "%s", l.time())
		l.block(l.screen, t)
	}
	return nil
}

func (l *live) time() string { return l.access.Clock.Now().Format(time.TimeOnly) }

func (l *live) draw() {
	if l.screen.Interactive() {
		l.screen.Clear()
	}
	keys := slices.SortedFunc(maps.Keys(l.twins), func(a, b types.NamespacedName) int {
		return strings.Compare(a.String(), b.String())
	})
	for i, key := range keys {
		if i > 0 {
			l.screen.Line(terminal.Plain, "")
		}
		if t := l.twins[key]; !l.differing || t.Differs() {
			l.block(l.screen, t)
		}
	}
}
