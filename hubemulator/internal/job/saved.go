package job

import (
	"fmt"
	"iter"
)

// Revision moves with every change of what Saved yields.
func (j *Jobs) Revision() uint64 {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.revision
}

// Saved yields every job as it is, for Restore in a later hub. No lock is held
// while the caller looks at one.
func (j *Jobs) Saved() iter.Seq[Job] {
	return func(yield func(Job) bool) {
		for after := uint64(0); ; {
			saved, found := j.nextBehind(after)
			if !found || !yield(saved) {
				return
			}
			after = saved.Sequence
		}
	}
}

func (j *Jobs) nextBehind(sequence uint64) (Job, bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if rest := j.behind(sequence); len(rest) > 0 {
		return rest[0].clone(), true
	}
	return Job{}, false
}

// Restore puts a job back, before Run. The jobs have to come in the order that
// Saved has. Run then goes on with those that were running: with the devices
// that they were not done with, once more from the start.
func (j *Jobs) Restore(saved Job) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if saved.Sequence <= j.sequence || j.byID[saved.ID] != nil {
		return fmt.Errorf("job %q is out of order, or there twice", saved.ID)
	}
	restored := saved.clone()
	j.sequence = saved.Sequence
	j.byID[saved.ID] = &restored
	j.inOrder = append(j.inOrder, &restored)
	j.touch()
	return nil
}
