// Package admin is the plain-HTTP API by which tests watch and disturb an
// emulated hub. It has no counterpart in IoT Hub.
package admin

import (
	"context"
	"encoding/json"
	"net"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
)

// Config is what the admin API works on.
type Config struct {
	// Counters returns the document that GET /emulator/counters answers.
	Counters      func() any
	ResetCounters func()
	// Metrics are offered at GET /metrics, in Prometheus' format.
	Metrics prometheus.Collector
	Faults  *fault.Set
	// Operations are those that a fault may be about.
	Operations []fault.Operation
	// SendToDevice takes a message for a device, as JSON.
	SendToDevice func(ctx context.Context, deviceID string, document []byte) error
	// EvaluateConfigurations does so now, and returns what it came to.
	EvaluateConfigurations func(ctx context.Context) (any, error)
	// Snapshot keeps what the hub holds now; restore makes devices, or without ids the whole hub, that again.
	Snapshot func() (restore func(deviceIDs ...string) error)
	// Dial connects to the hub by one of its names and a port, and to nothing else.
	Dial func(ctx context.Context, address string) (net.Conn, error)
	// HostNames are those of the hub, in lower case and without ports.
	HostNames []string
}

// maxBody bounds a fault's description.
const maxBody = 1 << 16

// New returns the admin API's handler.
func New(config Config) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /emulator/healthz", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, map[string]string{"status": "ok"})
	})
	mux.HandleFunc("GET /emulator/counters", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, config.Counters())
	})
	mux.HandleFunc("POST /emulator/counters/reset", func(w http.ResponseWriter, _ *http.Request) {
		config.ResetCounters()
		w.WriteHeader(http.StatusNoContent)
	})
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(config.Metrics)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /emulator/faults", func(w http.ResponseWriter, _ *http.Request) {
		write(w, http.StatusOK, config.Faults.List())
	})
	mux.HandleFunc("POST /emulator/faults", config.addFault)
	mux.HandleFunc("POST /emulator/devices/{id}/commands", config.sendToDevice)
	mux.HandleFunc("POST /emulator/configurations/evaluate", config.evaluateConfigurations)
	taken := &snapshots{take: config.Snapshot, restore: map[string]func(...string) error{}}
	mux.HandleFunc("POST /emulator/snapshots", taken.add)
	mux.HandleFunc("POST /emulator/snapshots/{id}/restore", taken.restoreOne)
	mux.HandleFunc("DELETE /emulator/snapshots/{id}", taken.remove)
	mux.HandleFunc("DELETE /emulator/faults/{id}", func(w http.ResponseWriter, r *http.Request) {
		if !config.Faults.Remove(r.PathValue("id")) {
			refuse(w, http.StatusNotFound, "there is no fault with this id")
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return config.guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodConnect {
			config.tunnel(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	}))
}

func (c Config) addFault(w http.ResponseWriter, r *http.Request) {
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBody))
	decoder.DisallowUnknownFields()
	var rule fault.Rule
	if err := decoder.Decode(&rule); err != nil {
		refuse(w, http.StatusBadRequest, "the fault cannot be read: "+err.Error())
		return
	}
	id, err := c.Faults.Add(rule, c.Operations)
	if err != nil {
		refuse(w, http.StatusBadRequest, err.Error())
		return
	}
	write(w, http.StatusCreated, map[string]string{"id": id})
}

func (c Config) evaluateConfigurations(w http.ResponseWriter, r *http.Request) {
	result, err := c.EvaluateConfigurations(r.Context())
	if err != nil {
		refuse(w, http.StatusInternalServerError, "the configurations could not be evaluated: "+err.Error())
		return
	}
	write(w, http.StatusOK, result)
}

func refuse(w http.ResponseWriter, status int, reason string) {
	write(w, status, map[string]string{"error": reason})
}

func write(w http.ResponseWriter, status int, document any) {
	text, err := json.Marshal(document)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// A client that has gone away is no business of ours.
	_, _ = w.Write(append(text, '\n'))
}
