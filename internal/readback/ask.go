package readback

import (
	"context"
	"errors"
	"slices"
	"sort"
	"sync"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// ask finds out what moved: by a full sweep where that takes no more queries than to
// ask what was written. asked is false where a sweep beside it is to tell.
func (p *poller) ask(ctx context.Context, session Session, settings Settings, from hub.Source) (asked bool, err error) {
	managed := p.fingerprints.count(from)
	p.manages(from, managed)
	if managed == 0 {
		return true, nil
	}
	mark := p.watermarks[from]
	still, err := p.busy(from)
	if err != nil {
		return false, err
	}
	few := managed <= max(1, mark.pages)*hub.PageRows
	if mark.usable() && !mark.resting() && (still || !few) {
		if due := p.clock.Since(p.sweptAt[from]) >= settings.FullSweep; due && !still {
			p.startSweep(ctx, session, from, p.batches(from), true)
		}
		if err := p.delta(ctx, session, from, pagesOf(managed)); !errors.Is(err, errCostly) {
			return true, err
		}
		still = p.sweeping[from] != nil
	}
	if still {
		return false, nil
	}
	batches := p.batches(from)
	if len(batches) <= max(1, mark.pages) {
		return true, p.finish(p.sweep(ctx, session, from, batches, false, &p.deltaTime))
	}
	p.sweepTells(from)
	p.startSweep(ctx, session, from, batches, false)
	return false, nil
}

// pagesOf is how many pages list so many twins, at least.
func pagesOf(twins int) int { return (twins + hub.PageRows - 1) / hub.PageRows }

func (p *poller) batches(from hub.Source) [][]string {
	return hub.Batches(devicesOf(p.fingerprints.beginSweep(from, p.clock.Now())), "")
}

// errCostly ends a delta that takes more pages than a full sweep.
var errCostly = errors.New("a full sweep is cheaper")

// delta asks what was written since it was asked last, with at most so many pages.
func (p *poller) delta(ctx context.Context, session Session, from hub.Source, most int) error {
	mark := p.watermarks[from]
	start, newest := p.clock.Now(), mark.newest
	var late time.Duration
	pages := 0
	err := p.query(ctx, session, func(ctx context.Context, page func(func())) error {
		return session.FindRows(dispatch.Urgent(ctx), hub.RowSelection{From: from, Since: mark.since(), Unreadable: p.unreadable(ctx)}, func(rows []hub.IndexRow) error {
			if pages++; pages > most {
				return errCostly
			}
			page(func() {
				late = max(late, p.fingerprints.compare(rows, false, mark.newest, p.clock.Now()))
				newest = newestOf(rows, newest)
			})
			return nil
		})
	}, &p.deltaTime)
	switch {
	case errors.Is(err, errCostly):
		mark.gaveUp(newest, p.clock.Now())
		return err
	case hub.ReasonOf(err) == hub.ReasonRefused:
		mark.silent = maxSilent
	}
	if err != nil {
		return err
	}
	mark.delta(newest, start, p.clock.Now(), late, pages)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lags[from] = mark.late
	return nil
}

func newestOf(page []hub.IndexRow, newest time.Time) time.Time {
	for _, s := range page {
		if s.Written.After(newest) {
			newest = s.Written
		}
	}
	return newest
}

// read reads the twins that moved, as long as there is room for their documents. A batch whose answer cannot be used is
// left to direct reads if the hub still counts its twins: an outage must not have each twin read on its own. of is brought
// on.
func (p *poller) read(ctx context.Context, session Session, from hub.Source, of *duration) error {
	wanted := p.fingerprints.wantedOf(from)
	var errs []error
	row := 0
	answers := sync.OnceValue(func() bool {
		_, err := p.count(ctx, session, from, of)
		return err == nil
	})
	for _, batch := range hub.Batches(devicesOf(wanted), "") {
		if !p.fingerprints.hasRoom(p.clock.Now()) {
			p.more = true
			break
		}
		err := p.query(ctx, session, func(ctx context.Context, page func(func())) error {
			return session.FindTwins(dispatch.Urgent(ctx), from, batch, func(twin *hub.Twin) {
				page(func() { p.fingerprints.offer(twin, p.clock.Now()) })
			}, p.unreadable(ctx))
		}, of)
		asked := upTo(wanted, batch[len(batch)-1]) // what is wanted is sorted, and cut into batches in that order
		wanted = wanted[len(asked):]
		if err == nil {
			p.fingerprints.absent(asked, missing)
			row = 0
			continue
		}
		errs = append(errs, err)
		if !spoilt(err) || !answers() {
			break
		}
		p.fingerprints.absent(asked, unreadable)
		if row++; row == maxSpoilt {
			break
		}
	}
	return errors.Join(errs...)
}

// spoilt tells whether a hub answered, but with what cannot be used: another query may fare better.
func spoilt(err error) bool { return hub.ReasonOf(err) == hub.ReasonUnexpectedAnswer }

// upTo are the first of sorted ids, up to those of a device.
func upTo(ids []hub.ID, device string) []hub.ID {
	return ids[:sort.Search(len(ids), func(i int) bool { return ids[i].Device > device })]
}

// devicesOf are the device ids of sorted ids, each once.
func devicesOf(ids []hub.ID) []string {
	devices := make([]string, 0, len(ids))
	for _, id := range ids {
		devices = append(devices, id.Device)
	}
	return slices.Compact(devices)
}

const (
	// answerTime is how long a hub may take for a page of an answer before the query is given up, however often its
	// requests are tried by then.
	answerTime = 5 * time.Minute
	// answerQueries is the same for a small share of a hub's rate, as how many queries it allows meanwhile.
	answerQueries = 10
)

// query asks a hub something and gives up when it does not go on. do has to report each page, with what is done with
// it; of are brought on by it. The time is the machine's own, since what is waited for is the network.
func (p *poller) query(ctx context.Context, session Session, do func(ctx context.Context, page func(func())) error, of ...*duration) error {
	patience := answerTime
	if rate := session.Dispatcher().Rate(dispatch.Queries).PerSecond; rate > 0 {
		patience = max(patience, time.Duration(answerQueries/rate*float64(time.Second)))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(patience, cancel)
	defer timer.Stop()
	return do(ctx, func(handle func()) {
		timer.Stop()
		handle()
		p.progress(of...)
		timer.Reset(patience)
	})
}
