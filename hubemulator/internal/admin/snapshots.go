package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// maxRestored bounds the list of devices to restore: some ten thousand ids.
const maxRestored = 2 << 20

// snapshots are those that were taken by the admin API. They stay in the hub: they hold keys.
type snapshots struct {
	take func() func(deviceIDs ...string) error

	mu      sync.Mutex
	last    int
	restore map[string]func(deviceIDs ...string) error
}

func (s *snapshots) add(w http.ResponseWriter, _ *http.Request) {
	restore := s.take()
	s.mu.Lock()
	s.last++
	id := fmt.Sprintf("snapshot-%d", s.last)
	s.restore[id] = restore
	s.mu.Unlock()
	write(w, http.StatusCreated, map[string]string{"id": id})
}

func (s *snapshots) restoreOne(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	restore, known := s.restore[r.PathValue("id")]
	s.mu.Unlock()
	if !known {
		refuse(w, http.StatusNotFound, "there is no snapshot with this id")
		return
	}
	var only struct{ Devices []string }
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxRestored))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&only); err != nil && !errors.Is(err, io.EOF) {
		refuse(w, http.StatusBadRequest, "what to restore cannot be read: "+err.Error())
		return
	}
	if err := restore(only.Devices...); err != nil {
		status := http.StatusInternalServerError
		if refused, ok := errors.AsType[*store.Error](err); ok {
			status = refused.Status
		}
		refuse(w, status, err.Error())
		return
	}
	w.WriteHeader(http.StatusNoContent)
}

func (s *snapshots) remove(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	_, known := s.restore[r.PathValue("id")]
	delete(s.restore, r.PathValue("id"))
	s.mu.Unlock()
	if !known {
		refuse(w, http.StatusNotFound, "there is no snapshot with this id")
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
