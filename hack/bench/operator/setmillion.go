package main

import (
	"context"
	"time"

	"github.com/devicetwin-io/devicetwin-operator/hack/bench/internal/bounds"
	"github.com/devicetwin-io/devicetwin-operator/hack/internal/process"
)

// setMillion is what the row set-million measures.
type setMillion struct {
	rolled                  roll
	seeded, complete        time.Duration
	managerRSS, emulatorRSS int64
	managerCPU, emulatorCPU time.Duration
	storeSize               int64
}

func setMillionRow() scenario {
	m := &setMillion{}
	return scenario{
		name: "set-million", title: "one DeviceTwinSet over as many devices as --n says, once",
		onRequest: true,
		steps: []step{
			{"start a cluster", startCluster},
			{"start the hub", func(ctx context.Context, r *run) error {
				began := time.Now()
				err := r.env.addHub(ctx, "hub", unthrottled, map[string]int{lineDevices: r.out.N})
				m.seeded = time.Since(began)
				return err
			}},
			{"start the manager", startManager},
			{"roll out the set", m.roll},
			{"wait until it is complete", func(ctx context.Context, r *run) error {
				err := r.awaitComplete(ctx, lineDevices, r.out.N)
				m.complete = time.Since(m.rolled.began)
				return err
			}},
		},
		report: m.report,
	}
}

// roll rolls the set out, and looks at the memory of both processes meanwhile.
func (m *setMillion) roll(ctx context.Context, r *run) (err error) {
	looked := time.Time{}
	m.rolled, err = r.rollout(ctx, lineDevices, r.out.N, func(int) error {
		if time.Since(looked) < time.Second {
			return nil
		}
		looked = time.Now()
		return m.look(r)
	})
	if err != nil {
		return err
	}
	m.storeSize, err = r.env.cluster.StoreSize()
	return err
}

func (m *setMillion) look(r *run) error {
	manager, err := process.UsageOf(r.env.manager.PID())
	if err != nil {
		return err
	}
	emulator, err := process.UsageOf(r.hub().Process.PID())
	m.managerRSS, m.emulatorRSS = max(m.managerRSS, int64(manager.RSS)), max(m.emulatorRSS, int64(emulator.RSS))
	m.managerCPU, m.emulatorCPU = manager.CPU, emulator.CPU
	return err
}

func (m *setMillion) report(_ context.Context, r *run) error {
	n := float64(r.out.N)
	made := m.rolled.calls
	r.out.add("the hub's start with so many devices", m.seeded.Seconds(), "s")
	r.out.add("from the set's creation to the last PATCH", m.rolled.took().Seconds(), "s")
	r.out.add("devices a second", n/m.rolled.took().Seconds(), "/s")
	r.out.add("from the set's creation until it is Complete", m.complete.Seconds(), "s")
	r.out.add("PATCH", float64(made.patch), "")
	r.out.add("GET", float64(made.get), "")
	r.out.add("query pages", float64(made.query), "")
	r.out.add("messages billed", float64(made.billed), "")
	r.out.add("writes to the API server", float64(m.rolled.writes), "")
	r.out.add("manager: most resident memory", float64(m.managerRSS)/megabyte, "MB")
	r.out.add("manager: CPU", m.managerCPU.Seconds(), "s")
	r.out.add("emulator: most resident memory", float64(m.emulatorRSS)/megabyte, "MB")
	r.out.add("emulator: CPU", m.emulatorCPU.Seconds(), "s")
	r.out.add("etcd's database", float64(m.storeSize)/megabyte, "MB")
	r.out.bound(bounds.None("PATCH calls beside one for each device", made.patch-r.out.N))
	r.out.bound(bounds.AtMost("writes to the API server, a second", "%.2f", float64(m.rolled.writes)/m.rolled.took().Seconds(), mostWritesPerSecond))
	return nil
}
