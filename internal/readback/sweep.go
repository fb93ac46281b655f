package readback

import (
	"context"
	"errors"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// swept is what a look at all twins came to.
type swept struct {
	from   hub.Source
	start  time.Time
	took   time.Duration
	newest time.Time
	// gently tells that it goes on beside the deltas.
	gently bool
	// spoilt is what is wrong with the answers that could not be used, while others could.
	spoilt error
	err    error
}

// startSweep looks at all twins of a source beside all else.
func (k *keeper) startSweep(ctx context.Context, session Session, from hub.Source, batches [][]string, gently bool) {
	if len(batches) == 0 {
		return
	}
	ended := make(chan swept, 1)
	k.sweeping[from] = ended
	go func() {
		ended <- k.sweep(ctx, session, from, batches, gently)
		signal(k.ended)
	}()
}

// busy tells whether a sweep of a source is going on beside the deltas; err is what one
// that ended failed at.
func (k *keeper) busy(from hub.Source) (still bool, err error) {
	ended := k.sweeping[from]
	if ended == nil {
		return false, nil
	}
	select {
	case result := <-ended:
		delete(k.sweeping, from)
		return false, k.finish(result)
	default:
		return true, nil
	}
}

// finish takes over what a sweep came to.
func (k *keeper) finish(result swept) error {
	if result.err != nil {
		return result.err
	}
	k.marks[result.from].swept(result.newest, result.start, result.start.Add(result.took))
	k.sweptAt[result.from] = result.start
	if result.spoilt == nil {
		k.sweptAll(result.from)
	}
	return result.spoilt
}

// sweep looks at all managed twins: by their ids, or at the whole hub where that is
// cheaper; gently where it goes on beside the deltas, or within what else is timed.
func (k *keeper) sweep(ctx context.Context, session Session, from hub.Source, batches [][]string, gently bool, within ...*duration) swept {
	result := swept{from: from, start: k.clock.Now(), gently: gently}
	within = append(within, k.sweepTimes[from])
	result.err = k.timed(k.sweepTimes[from], func() error { return k.lookAtAll(ctx, session, batches, &result, within) })
	result.took = k.clock.Since(result.start)
	return result
}

// maxSpoilt is after how many unusable answers in a row the others are not asked for: it is not the twins then.
const maxSpoilt = 3

// lookAtAll notes in result the newest write that was shown, and which answers could not be used.
func (k *keeper) lookAtAll(ctx context.Context, session Session, batches [][]string, result *swept, of []*duration) error {
	looks, err := k.looks(ctx, session, result.from, batches, of)
	if err != nil {
		return err
	}
	if len(looks) == 1 && len(batches) > 1 {
		err := k.lookOnce(ctx, session, looks[0], result, of)
		if !spoilt(err) {
			return k.endSweep(result.from, err)
		}
		looks = byID(result.from, batches)
	}
	var unusable []error
	row := 0
	for _, look := range looks {
		err := k.lookOnce(ctx, session, look, result, of)
		switch {
		case err == nil:
			row = 0
			continue
		case !spoilt(err):
			return err
		}
		unusable = append(unusable, err)
		if row++; row == maxSpoilt || len(looks) == 1 {
			return errors.Join(unusable...)
		}
		devices := make(map[string]bool, len(look.Batch))
		for _, device := range look.Batch {
			devices[device] = true
		}
		k.book.excuse(result.from, devices)
	}
	result.spoilt = errors.Join(unusable...)
	return k.endSweep(result.from, nil)
}

func (k *keeper) endSweep(from hub.Source, err error) error {
	if err == nil {
		k.book.endSweep(from)
	}
	return err
}

// lookOnce makes one look of a sweep.
func (k *keeper) lookOnce(ctx context.Context, session Session, look hub.Look, result *swept, of []*duration) error {
	look.Unreadable = k.unreadable(ctx)
	return k.question(ctx, session, func(asking context.Context, page func(func())) error {
		return session.Look(asking, look, func(rows []hub.Sighting) error {
			rested := true
			page(func() {
				k.book.look(rows, true, time.Time{}, k.clock.Now())
				result.newest = newestOf(rows, result.newest)
				if result.gently {
					rested = k.pause(ctx, pagePause(session.Dispatcher().Rate(dispatch.Queries).PerSecond/float64(k.sweepsNow())))
				}
			})
			if !rested {
				return ctx.Err()
			}
			return nil
		})
	}, of...)
}

// looks show all managed twins with as few pages as possible.
func (k *keeper) looks(
	ctx context.Context, session Session, from hub.Source, batches [][]string, of []*duration,
) ([]hub.Look, error) {
	if len(batches) > 1 {
		total, err := k.count(ctx, session, from, of...)
		if err != nil {
			return nil, err
		}
		if pages := (total + hub.PageRows - 1) / hub.PageRows; pages <= int64(len(batches)) {
			return []hub.Look{{From: from}}, nil
		}
	}
	return byID(from, batches), nil
}

// count is how many twins of a source the hub holds, managed or not.
func (k *keeper) count(ctx context.Context, session Session, from hub.Source, of ...*duration) (total int64, err error) {
	err = k.question(ctx, session, func(ctx context.Context, page func(func())) (err error) {
		total, err = session.Count(ctx, from, "")
		page(func() {})
		return err
	}, of...)
	return total, err
}

func byID(from hub.Source, batches [][]string) []hub.Look {
	looks := make([]hub.Look, len(batches))
	for i, batch := range batches {
		looks[i] = hub.Look{From: from, Batch: batch}
	}
	return looks
}

// sweepsNow is how many sweeps go on at this moment: they share what all of them may take.
func (k *keeper) sweepsNow() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	n := 0
	for _, sweep := range k.sweepTimes {
		if !sweep.began.IsZero() {
			n++
		}
	}
	return max(n, 1)
}
