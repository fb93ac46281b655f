package controllers

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"unsafe"

	ctrl "sigs.k8s.io/controller-runtime"
)

// SetupWatched is Setup, and returns what lists all that the controllers remember: each
// map, list and channel that is not empty, by the fields that lead to it.
func SetupWatched(ctx context.Context, mgr ctrl.Manager, opts Options) (remembered func() []string, err error) {
	reconcilers, err := newReconcilers(ctx, mgr, opts.withDefaults())
	if err != nil {
		return nil, err
	}
	return func() []string {
		w := &walker{seen: map[unsafe.Pointer]bool{}}
		w.walk("twins", reflect.ValueOf(reconcilers.twins))
		w.walk("queries", reflect.ValueOf(reconcilers.queries))
		w.walk("requests", reflect.ValueOf(reconcilers.requests))
		w.walk("sets", reflect.ValueOf(reconcilers.sets))
		w.walk("connections", reflect.ValueOf(reconcilers.connections))
		return w.found
	}, reconcilers.add(mgr, opts.withDefaults())
}

// walker goes through structs of this module. It looks into no element of a map, list or
// channel: those go with it.
type walker struct {
	seen  map[unsafe.Pointer]bool
	found []string
}

const module = "github.com/devicetwin-io/devicetwin-operator/"

func (w *walker) walk(path string, value reflect.Value) {
	switch value.Kind() {
	case reflect.Pointer, reflect.Interface:
		if !value.IsNil() {
			w.walk(path, value.Elem())
		}
	case reflect.Struct:
		w.fields(path, value)
	case reflect.Map, reflect.Slice, reflect.Chan:
		if value.Len() > 0 {
			w.found = append(w.found, fmt.Sprintf("%s: %d", path, value.Len()))
		}
	}
}

func (w *walker) fields(path string, value reflect.Value) {
	if !value.CanAddr() || !strings.HasPrefix(value.Type().PkgPath()+"/", module) {
		return
	}
	at := unsafe.Pointer(value.UnsafeAddr())
	if w.seen[at] && value.NumField() > 0 {
		return
	}
	w.seen[at] = true
	defer locked(value)()
	for i := range value.NumField() {
		w.walk(path+"."+value.Type().Field(i).Name, value.Field(i))
	}
}

// locked holds the lock of a struct that has one, by the name that all of them use.
func locked(value reflect.Value) (unlock func()) {
	field := value.FieldByName("mu")
	if !field.IsValid() {
		return func() {}
	}
	switch lock := reflect.NewAt(field.Type(), unsafe.Pointer(field.UnsafeAddr())).Interface().(type) {
	case *sync.Mutex:
		lock.Lock()
		return lock.Unlock
	case *sync.RWMutex:
		lock.RLock()
		return lock.RUnlock
	}
	return func() {}
}
