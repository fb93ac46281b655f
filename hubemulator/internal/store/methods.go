package store

import (
	"context"
	"encoding/json"
	"errors"
)

// ErrDeviceGone says that a device disconnected before it answered.
var ErrDeviceGone = errors.New("the device disconnected")

// MethodResult is what a device answers to a direct method.
type MethodResult struct {
	// Status is any number that the device chooses.
	Status int
	// Payload is JSON, or empty.
	Payload json.RawMessage
}

// MethodFunc calls a direct method of a device and waits for the result, or
// for the end of ctx.
type MethodFunc func(ctx context.Context, name string, payload []byte) (MethodResult, error)

// ServeMethods says how direct methods are called from now on; nil ends that.
func (x *Session) ServeMethods(call MethodFunc) {
	x.store.mu.Lock()
	defer x.store.mu.Unlock()
	if x.closed {
		return
	}
	x.methods = call
	d := x.store.lookup(x.credential.ID)
	if call != nil && d.methodsServed != nil {
		close(d.methodsServed)
		d.methodsServed = nil
	}
}

// Methods returns how to call direct methods of a device or module. It waits
// until the device is there to be called, or ctx ends; then it returns nil.
func (s *Store) Methods(ctx context.Context, id ID) (MethodFunc, error) {
	for {
		call, served, err := s.methodsNow(id)
		if err != nil || call != nil {
			return call, err
		}
		select {
		case <-served:
		case <-ctx.Done():
			return nil, nil
		}
	}
}

func (s *Store) methodsNow(id ID) (MethodFunc, <-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	d, err := s.find(id)
	if err != nil {
		return nil, nil, err
	}
	if d.session != nil && d.session.methods != nil {
		return d.session.methods, nil, nil
	}
	if d.methodsServed == nil {
		d.methodsServed = make(chan struct{})
	}
	return nil, d.methodsServed, nil
}
