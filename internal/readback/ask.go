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

// ask looks for what moved: at all twins where that takes no more queries than to
// ask what was written. asked is false where a sweep beside it is to tell.
func (k *keeper) ask(ctx context.Context, session Session, settings Settings, from hub.Source) (asked bool, err error) {
	managed := k.book.count(from)
	k.manages(from, managed)
	if managed == 0 {
		return true, nil
	}
	mark := k.marks[from]
	still, err := k.busy(from)
	if err != nil {
		return false, err
	}
	few := managed <= max(1, mark.pages)*hub.PageRows
	if mark.usable() && !mark.resting() && (still || !few) {
		if due := k.clock.Since(k.sweptAt[from]) >= settings.FullSweep; due && !still {
			k.startSweep(ctx, session, from, k.batches(from), true)
		}
		if err := k.delta(ctx, session, from, pagesOf(managed)); !errors.Is(err, errCostly) {
			return true, err
		}
		still = k.sweeping[from] != nil
	}
	if still {
		return false, nil
	}
	batches := k.batches(from)
	if len(batches) <= max(1, mark.pages) {
		return true, k.finish(k.sweep(ctx, session, from, batches, false, &k.lookTime))
	}
	k.sweepTells(from)
	k.startSweep(ctx, session, from, batches, false)
	return false, nil
}

// pagesOf is how many pages list so many twins, at least.
func pagesOf(twins int) int { return (twins + hub.PageRows - 1) / hub.PageRows }

func (k *keeper) batches(from hub.Source) [][]string {
	return hub.Batches(devicesOf(k.book.beginSweep(from, k.clock.Now())), "")
}

// errCostly ends a delta that takes more pages than a look at all managed twins.
var errCostly = errors.New("a look at all is cheaper")

// delta asks what was written since it was asked last, with at most so many pages.
func (k *keeper) delta(ctx context.Context, session Session, from hub.Source, most int) error {
	mark := k.marks[from]
	start, newest := k.clock.Now(), mark.newest
	var late time.Duration
	pages := 0
	err := k.question(ctx, session, func(ctx context.Context, page func(func())) error {
		return session.Look(dispatch.Urgent(ctx), hub.Look{From: from, Since: mark.since(), Unreadable: k.unreadable(ctx)}, func(rows []hub.Sighting) error {
			if pages++; pages > most {
				return errCostly
			}
			page(func() {
				late = max(late, k.book.look(rows, false, mark.newest, k.clock.Now()))
				newest = newestOf(rows, newest)
			})
			return nil
		})
	}, &k.lookTime)
	switch {
	case errors.Is(err, errCostly):
		mark.gaveUp(newest, k.clock.Now())
		return err
	case hub.ReasonOf(err) == hub.ReasonRefused:
		mark.silent = maxSilent
	}
	if err != nil {
		return err
	}
	mark.delta(newest, start, k.clock.Now(), late, pages)
	return nil
}

func newestOf(page []hub.Sighting, newest time.Time) time.Time {
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
func (k *keeper) read(ctx context.Context, session Session, from hub.Source, of *duration) error {
	wanted := k.book.wantedOf(from)
	var errs []error
	row := 0
	answers := sync.OnceValue(func() bool {
		_, err := k.count(ctx, session, from, of)
		return err == nil
	})
	for _, batch := range hub.Batches(devicesOf(wanted), "") {
		if !k.book.hasRoom(k.clock.Now()) {
			k.more = true
			break
		}
		err := k.question(ctx, session, func(ctx context.Context, page func(func())) error {
			return session.FindTwins(dispatch.Urgent(ctx), from, batch, func(twin *hub.Twin) {
				page(func() { k.book.offer(twin, k.clock.Now()) })
			}, k.unreadable(ctx))
		}, of)
		asked := upTo(wanted, batch[len(batch)-1]) // what is wanted is sorted, and cut into batches in that order
		wanted = wanted[len(asked):]
		if err == nil {
			k.book.absent(asked, missing)
			row = 0
			continue
		}
		errs = append(errs, err)
		if !spoilt(err) || !answers() {
			break
		}
		k.book.absent(asked, unreadable)
		if row++; row == maxSpoilt {
			break
		}
	}
	return errors.Join(errs...)
}

// spoilt tells whether a hub answered, but with what cannot be used: another question may fare better.
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
	// answerTime is how long a hub may take for a page of an answer before the question is given up, however often its
	// requests are tried by then.
	answerTime = 5 * time.Minute
	// answerTurns is the same for a small share of a hub's rate, as how many queries it allows meanwhile.
	answerTurns = 10
)

// question asks a hub something and gives up when it does not go on. do has to report each page, with what is done with
// it; of are brought on by it. The time is the machine's own, since what is waited for is the network.
func (k *keeper) question(ctx context.Context, session Session, do func(ctx context.Context, page func(func())) error, of ...*duration) error {
	patience := answerTime
	if rate := session.Dispatcher().Rate(dispatch.Queries).PerSecond; rate > 0 {
		patience = max(patience, time.Duration(answerTurns/rate*float64(time.Second)))
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	timer := time.AfterFunc(patience, cancel)
	defer timer.Stop()
	return do(ctx, func(handle func()) {
		timer.Stop()
		handle()
		k.progress(of...)
		timer.Reset(patience)
	})
}
