package readback

import (
	"context"
	"errors"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// swept is what a full sweep came to.
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

// startSweep sweeps all twins of a source beside all else.
func (p *poller) startSweep(ctx context.Context, session Session, from hub.Source, batches [][]string, gently bool) {
	if len(batches) == 0 {
		return
	}
	ended := make(chan swept, 1)
	p.sweeping[from] = ended
	go func() {
		ended <- p.sweep(ctx, session, from, batches, gently)
		signal(p.ended)
	}()
}

// busy tells whether a sweep of a source is going on beside the deltas; err is what one
// that ended failed at.
func (p *poller) busy(from hub.Source) (still bool, err error) {
	ended := p.sweeping[from]
	if ended == nil {
		return false, nil
	}
	select {
	case result := <-ended:
		delete(p.sweeping, from)
		return false, p.finish(result)
	default:
		return true, nil
	}
}

// finish takes over what a sweep came to.
func (p *poller) finish(result swept) error {
	if result.err != nil {
		return result.err
	}
	p.watermarks[result.from].swept(result.newest, result.start, result.start.Add(result.took))
	p.sweptAt[result.from] = result.start
	if result.spoilt == nil {
		p.sweptAll(result.from)
	}
	return result.spoilt
}

// sweep queries all managed twins: by their ids, or at the whole hub where that is
// cheaper; gently where it goes on beside the deltas, or within what else is timed.
func (p *poller) sweep(ctx context.Context, session Session, from hub.Source, batches [][]string, gently bool, within ...*duration) swept {
	result := swept{from: from, start: p.clock.Now(), gently: gently}
	within = append(within, p.sweepTimes[from])
	result.err = p.timed(p.sweepTimes[from], func() error { return p.sweepAll(ctx, session, batches, &result, within) })
	result.took = p.clock.Since(result.start)
	return result
}

// maxSpoilt is after how many unusable answers in a row the others are not asked for: it is not the twins then.
const maxSpoilt = 3

// sweepAll notes in result the newest write that was shown, and which answers could not be used.
func (p *poller) sweepAll(ctx context.Context, session Session, batches [][]string, result *swept, of []*duration) error {
	parts, err := p.selections(ctx, session, result.from, batches, of)
	if err != nil {
		return err
	}
	if len(parts) == 1 && len(batches) > 1 {
		err := p.sweepPart(ctx, session, parts[0], result, of)
		if !spoilt(err) {
			return p.endSweep(result.from, err)
		}
		parts = byID(result.from, batches)
	}
	var unusable []error
	row := 0
	for _, part := range parts {
		err := p.sweepPart(ctx, session, part, result, of)
		switch {
		case err == nil:
			row = 0
			continue
		case !spoilt(err):
			return err
		}
		unusable = append(unusable, err)
		if row++; row == maxSpoilt || len(parts) == 1 {
			return errors.Join(unusable...)
		}
		devices := make(map[string]bool, len(part.Batch))
		for _, device := range part.Batch {
			devices[device] = true
		}
		p.fingerprints.excuse(result.from, devices)
	}
	result.spoilt = errors.Join(unusable...)
	return p.endSweep(result.from, nil)
}

func (p *poller) endSweep(from hub.Source, err error) error {
	if err == nil {
		p.fingerprints.endSweep(from)
	}
	return err
}

// sweepPart makes one query of a sweep.
func (p *poller) sweepPart(ctx context.Context, session Session, selection hub.RowSelection, result *swept, of []*duration) error {
	selection.Unreadable = p.unreadable(ctx)
	return p.query(ctx, session, func(asking context.Context, page func(func())) error {
		return session.FindRows(asking, selection, func(rows []hub.IndexRow) error {
			rested := true
			page(func() {
				p.fingerprints.compare(rows, true, time.Time{}, p.clock.Now())
				result.newest = newestOf(rows, result.newest)
				if result.gently {
					rested = p.pause(ctx, pagePause(session.Dispatcher().Rate(dispatch.Queries).PerSecond/float64(p.sweepsNow())))
				}
			})
			if !rested {
				return ctx.Err()
			}
			return nil
		})
	}, of...)
}

// selections show all managed twins with as few pages as possible.
func (p *poller) selections(
	ctx context.Context, session Session, from hub.Source, batches [][]string, of []*duration,
) ([]hub.RowSelection, error) {
	if len(batches) > 1 {
		total, err := p.count(ctx, session, from, of...)
		if err != nil {
			return nil, err
		}
		if pages := (total + hub.PageRows - 1) / hub.PageRows; pages <= int64(len(batches)) {
			return []hub.RowSelection{{From: from}}, nil
		}
	}
	return byID(from, batches), nil
}

// count is how many twins of a source the hub holds, managed or not.
func (p *poller) count(ctx context.Context, session Session, from hub.Source, of ...*duration) (total int64, err error) {
	err = p.query(ctx, session, func(ctx context.Context, page func(func())) (err error) {
		total, err = session.Count(ctx, from, "")
		page(func() {})
		return err
	}, of...)
	return total, err
}

func byID(from hub.Source, batches [][]string) []hub.RowSelection {
	parts := make([]hub.RowSelection, len(batches))
	for i, batch := range batches {
		parts[i] = hub.RowSelection{From: from, Batch: batch}
	}
	return parts
}

// sweepsNow is how many sweeps go on at this moment: they share what all of them may take.
func (p *poller) sweepsNow() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, sweep := range p.sweepTimes {
		if !sweep.began.IsZero() {
			n++
		}
	}
	return max(n, 1)
}
