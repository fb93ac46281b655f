package membership

import (
	"maps"
	"slices"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// selection is what is known of who satisfies a condition.
type selection struct {
	// devices are those that the hub listed, or modules, as device/module; sorted.
	devices []string
	// listed is when the hub was asked for them, zero for never.
	listed time.Time
	// judged are the twins that were read since.
	judged map[hub.ID]judgement
	// disputed are what twins were judged that the hub's answer contradicted for long, and
	// since when.
	disputed map[hub.ID]judgement
	// users are how many TwinQueries of each namespace show it.
	users map[string]int
}

// judgement is whether a twin satisfied a condition when it was read.
type judgement struct {
	member bool
	at     time.Time
}

// indexLag is how late a hub's answer may be: it counts for less than a twin that was
// read so long before it. IoT Hub's index was seen to be late by one to six seconds.
const indexLag = 30 * time.Second

// longestDispute is how long it is remembered that the hub's answer contradicts a twin
// that was read: one that is not read again within it may be gone.
const longestDispute = time.Hour

// take returns who joined or left, as far as that is known.
func (a *selection) take(devices []string, asked time.Time) []string {
	var changed []string
	old := asked.Add(-indexLag)
	for id, judged := range a.judged {
		_, listed := slices.BinarySearch(devices, id.String())
		if judged.member == listed {
			delete(a.disputed, id)
		} else if judged.at.Before(old) {
			a.disputed[id] = judgement{member: judged.member, at: asked}
			changed = append(changed, id.String())
		}
	}
	changed = append(changed, difference(a.devices, devices)...)
	maps.DeleteFunc(a.judged, func(_ hub.ID, v judgement) bool { return v.at.Before(old) })
	over := asked.Add(-longestDispute)
	maps.DeleteFunc(a.disputed, func(_ hub.ID, v judgement) bool { return v.at.Before(over) })
	a.devices, a.listed = devices, asked
	return changed
}

// judge holds a twin that was read against the answer, and tells whether it contradicts it
// again.
func (a *selection) judge(id hub.ID, member bool, now time.Time) (again bool) {
	a.judged[id] = judgement{member: member, at: now}
	before, disputed := a.disputed[id]
	delete(a.disputed, id)
	return disputed && before.member == member
}

// members are all that are known to be selected.
func (a *selection) members() []string {
	members := slices.Clone(a.devices)
	for id, judged := range a.judged {
		if judged.member {
			members = append(members, id.String())
		}
	}
	return members
}

// has tells whether a twin is selected, by the newer evidence; without any it is as
// it was.
func (a *selection) has(id hub.ID, was bool) bool {
	if judged, ok := a.judged[id]; ok {
		return judged.member
	}
	if a.listed.IsZero() {
		return was
	}
	_, listed := slices.BinarySearch(a.devices, id.String())
	return listed
}

// difference is what is in one of two sorted lists and not in the other.
func difference(a, b []string) []string {
	var out []string
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0] == b[0]:
			a, b = a[1:], b[1:]
		case a[0] < b[0]:
			out, a = append(out, a[0]), a[1:]
		default:
			out, b = append(out, b[0]), b[1:]
		}
	}
	return slices.Concat(out, a, b)
}
