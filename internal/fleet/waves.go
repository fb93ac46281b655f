package fleet

import (
	"hash/fnv"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// Rest is the name of the last wave, which takes every device that no other took.
const Rest = "rest"

// places is how many places the devices of a fleet are spread over by their hash: a hundredth of a percent each.
const places = 10_000

// Wave is a part of a set's devices.
type Wave struct {
	v1alpha1.SetWave
	// Condition of a wave that has one.
	Condition *query.Condition
	// from and to are the places that a percentage takes.
	from, to int
}

// Waves of a rollout in their order, the rest at the end.
type Waves []Wave

// NewWaves are the waves of a rollout, with their conditions where they have any.
func NewWaves(declared []v1alpha1.SetWave, conditions []*query.Condition) Waves {
	var waves Waves
	taken := 0
	for i, wave := range declared {
		next := Wave{SetWave: wave, Condition: conditions[i]}
		if wave.Percent > 0 {
			next.from, next.to = taken, taken+int(wave.Percent)*places/100
			taken = next.to
		}
		waves = append(waves, next)
	}
	return append(waves, Wave{SetWave: v1alpha1.SetWave{Name: Rest, Then: v1alpha1.AfterWaveContinue}})
}

// All is the one wave of a rollout that has no others, such as a rollback.
func All() Waves { return NewWaves(nil, nil) }

// Index of a wave by its name; -1 for none.
func (w Waves) Index(name string) int {
	for i := range w {
		if w[i].Name == name {
			return i
		}
	}
	return -1
}

// Of is the wave that a device belongs to with a revision: the first that takes it. document
// is its twin, for the conditions, and is asked for where there are any.
func (w Waves) Of(device, revision string, document func() (map[string]any, error)) (int, error) {
	place := Place(device, revision)
	var held map[string]any
	for i := range w {
		switch {
		case w[i].Condition == nil && w[i].Percent == 0:
			return i, nil
		case w[i].Condition == nil:
			if w[i].takes(place) {
				return i, nil
			}
			continue
		}
		if held == nil {
			var err error
			if held, err = document(); err != nil {
				return 0, err
			}
		}
		if w[i].Condition.Matches(held) {
			return i, nil
		}
	}
	return len(w) - 1, nil
}

// TakenBy tells whether a percentage of the waves up to one takes a device.
func (w Waves) TakenBy(device, revision string, upTo int) bool {
	place := Place(device, revision)
	for i := range w[:upTo+1] {
		if w[i].takes(place) {
			return true
		}
	}
	return false
}

func (w Wave) takes(place int) bool { return place >= w.from && place < w.to }

// Percentages tells whether a wave up to one is a percentage.
func (w Waves) Percentages(upTo int) bool {
	for i := range w[:upTo+1] {
		if w[i].Percent > 0 {
			return true
		}
	}
	return false
}

// Conditions are those of the waves up to one.
func (w Waves) Conditions(upTo int) []*query.Condition {
	var all []*query.Condition
	for i := range w[:upTo+1] {
		if w[i].Condition != nil {
			all = append(all, w[i].Condition)
		}
	}
	return all
}

// Place of a device among the devices of a fleet with a revision: the same on every replica and
// after every restart, and another one with the next revision, lest the same devices
// be the first each time.
func Place(device, revision string) int {
	hash := fnv.New64a()
	// A hash never returns an error.
	_, _ = hash.Write([]byte(revision + "\x00" + device))
	return int(hash.Sum64() % places)
}
