package membership

import (
	"context"
	"slices"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/fieldindex"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
)

// scanShare is what all scans at a hub take of its rate of queries: what moved and
// the TwinQueries themselves have the rest.
const scanShare = 0.1

// scan tells which managed twins belong to an answer, sorted, and how many pages that took.
func (m *Memberships) scan(ctx context.Context, found Evaluation) (members []string, pages int, err error) {
	managed, err := m.managed(ctx, found)
	if err != nil {
		return nil, 0, err
	}
	members = make([]string, 0, len(managed))
	pages, err = m.pages(ctx, found, managed, func(id hub.ID) {
		if i, known := slices.BinarySearchFunc(managed, id, hub.ID.Compare); known {
			members = append(members, managed[i].String())
		}
	})
	slices.Sort(members)
	return slices.Clip(slices.Compact(members)), pages, err
}

// pages shows who satisfies a condition, and rests between the pages.
func (m *Memberships) pages(ctx context.Context, found Evaluation, managed []hub.ID, seen func(hub.ID)) (pages int, err error) {
	for i, selection := range selections(hub.Selection{From: found.From, Where: found.Condition.String()}, found.Count, managed) {
		if i > 0 {
			if err := m.rest(ctx, found.Hub.Session); err != nil {
				return pages, err
			}
		}
		err := found.Hub.Session.FindIDs(ctx, selection, func(page []hub.ID) error {
			pages++
			m.progress(found.Hub.Key)
			for _, id := range page {
				seen(id)
			}
			if len(page) < hub.PageRows || len(selection.Batch) > 0 && selection.From == hub.Devices {
				return nil // it is the last one
			}
			return m.rest(ctx, found.Hub.Session)
		})
		if err != nil {
			return pages, err
		}
	}
	return pages, nil
}

// managed are the twins that have a DeviceTwin and may be selected, sorted.
func (m *Memberships) managed(ctx context.Context, found Evaluation) ([]hub.ID, error) {
	twins, err := fieldindex.TwinsAt(ctx, m.opts.Reader, found.Hub.Key, found.From)
	if err != nil {
		return nil, err
	}
	var ids []hub.ID
	for i := range twins {
		if found.Hub.Scope.Covers(twins[i].Spec.DeviceID) {
			ids = append(ids, fieldindex.IDOf(&twins[i]))
		}
	}
	slices.SortFunc(ids, hub.ID.Compare)
	return slices.Compact(ids), nil
}

// selections find the managed twins that satisfy a condition: by their ids, or in the
// whole answer where that has fewer pages.
func selections(whole hub.Selection, count int64, managed []hub.ID) []hub.Selection {
	if len(managed) == 0 {
		return nil
	}
	var devices []string
	for _, id := range managed {
		devices = append(devices, id.Device)
	}
	batches := hub.Batches(slices.Compact(devices), whole.Where)
	if pages := (count + hub.PageRows - 1) / hub.PageRows; len(batches) == 0 || pages < int64(len(batches)) {
		return []hub.Selection{whole}
	}
	var narrowed []hub.Selection
	for _, batch := range batches {
		narrowed = append(narrowed, hub.Selection{From: whole.From, Where: whole.Where, Batch: batch})
	}
	return narrowed
}

// rest waits as long as a page has to last. It is longer on a day whose messages have to
// last too.
func (m *Memberships) rest(ctx context.Context, at session) error {
	timer := m.opts.Timers.NewTimer(pause(at))
	defer timer.Stop()
	select {
	case <-timer.C():
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func pause(at session) time.Duration {
	d := at.Dispatcher()
	return time.Duration(float64(time.Second)/(d.Rate(dispatch.Queries).PerSecond*scanShare)) * time.Duration(d.Stretch())
}
