package main

import (
	"strings"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/internal/audit"
)

// writes are the manager's at the API server, as its audit log has them. Leases, of
// which there are none here, would not count.
type writes struct {
	trail *audit.Trail
	total int
	// status has the times at which a DeviceTwin's status was written, by its name.
	status map[string][]time.Time
}

func newWrites(trail *audit.Trail) *writes {
	return &writes{trail: trail, status: map[string][]time.Time{}}
}

// refresh reads what the log has more.
func (w *writes) refresh() error {
	events, err := w.trail.Next()
	for _, event := range events {
		w.take(event)
	}
	return err
}

func (w *writes) take(event audit.Event) {
	w.total++
	about := event.ObjectRef
	if about.Resource == "devicetwins" && about.Subresource == "status" && event.ResponseStatus.Code == 200 {
		w.status[about.Name] = append(w.status[about.Name], event.Answered)
	}
}

// lastStatus is when a status of the objects whose names begin so was last written.
func (w *writes) lastStatus(prefix string) time.Time {
	var last time.Time
	for name, times := range w.status {
		if newest := times[len(times)-1]; strings.HasPrefix(name, prefix) && newest.After(last) {
			last = newest
		}
	}
	return last
}

// statusSince are the times at which an object's status was written after one.
func (w *writes) statusSince(name string, since time.Time) []time.Time {
	times := w.status[name]
	for len(times) > 0 && !times[0].After(since) {
		times = times[1:]
	}
	return times
}

// writtenSince are the names of the objects whose status was written after a time.
func (w *writes) writtenSince(since time.Time) []string {
	var names []string
	for name := range w.status {
		if len(w.statusSince(name, since)) > 0 {
			names = append(names, name)
		}
	}
	return names
}
