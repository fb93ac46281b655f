package service

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// BenchmarkQuery measures first pages, up to their JSON, at 100,000 devices with
// twins of about 1 KB.
func BenchmarkQuery(b *testing.B) {
	const devices = 100_000
	note := strings.Repeat("n", 700)
	h := &handler{Config: Config{Store: store.New(store.Options{Clock: clock.RealClock{}})}}
	for i := range devices {
		id := store.ID{Device: fmt.Sprintf("device-%06d", i)}
		if _, err := h.Store.PutIdentity(id, "", []byte(`{}`)); err != nil {
			b.Fatal(err)
		}
		twin := fmt.Appendf(nil, `{"tags":{"location":{"plant":"plant-%d"},"serial":%d},"properties":{"desired":{"a":1,"b":{"c":"d"},"note":"%s"}}}`, i%100, i, note)
		if _, err := h.Store.PatchTwin(id, "", twin); err != nil {
			b.Fatal(err)
		}
	}
	named := make([]string, 100)
	for i := range named {
		named[i] = fmt.Sprintf("'device-%06d'", i*997)
	}
	batch := "deviceId IN [" + strings.Join(named, ", ") + "]"
	created := 0
	for _, bb := range []struct {
		name, text string
		rows       int
	}{
		{"none", `SELECT * FROM devices WHERE tags.location.plant = 'elsewhere'`, 0},
		{"last", fmt.Sprintf(`SELECT * FROM devices WHERE tags.serial = %d`, devices-1), 1},
		{"percent", `SELECT * FROM devices WHERE tags.location.plant = 'plant-7'`, 100},
		{"all", `SELECT * FROM devices`, 100},
		{"changed", `SELECT deviceId FROM devices WHERE properties.desired.$metadata.$lastUpdated < '2000-01-01T00:00:00Z'`, 0},
		{"disconnected", `SELECT deviceId FROM devices WHERE connectionState = 'Connected' OR status != 'enabled'`, 0},
		{"created", `SELECT * FROM devices WHERE tags.location.plant = 'elsewhere'`, 0}, // after a device was created
		{"batch", "SELECT * FROM devices WHERE " + batch, 100},
		{"batch-changed", "SELECT deviceId FROM devices WHERE " + batch + " AND properties.desired.$metadata.$lastUpdated < '2000-01-01T00:00:00Z'", 0},
		{"one", `SELECT * FROM devices WHERE deviceId = 'device-099999'`, 1},
		{"count", `SELECT COUNT() AS n FROM devices WHERE tags.location.plant = 'plant-7'`, 1},
		{"groups", `SELECT tags.location.plant, COUNT() AS n, AVG(tags.serial) AS mean FROM devices WHERE IS_DEFINED(tags) GROUP BY tags.location.plant`, 100},
	} {
		body, err := json.Marshal(map[string]string{"query": bb.text})
		if err != nil {
			b.Fatal(err)
		}
		b.Run(bb.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if bb.name == "created" {
					created++
					if _, err := h.Store.PutIdentity(store.ID{Device: fmt.Sprintf("created-%d", created)}, "", []byte(`{}`)); err != nil {
						b.Fatal(err)
					}
				}
				result, err := h.runQuery(call{body: body, header: http.Header{}})
				if err != nil {
					b.Fatal(err)
				}
				if rows := result.body.(rows); len(rows) != bb.rows {
					b.Fatalf("%d rows", len(rows))
				}
				if _, err := json.Marshal(result.body); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
