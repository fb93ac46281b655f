package crash_test

import (
	"bytes"
	"context"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"regexp"
	"sync"
)

// boundary is how far a write has come when its manager is killed.
type boundary string

const (
	// before it leaves: it reaches no server.
	before boundary = "before"
	// answerLost: it is applied, and the manager never knows.
	answerLost boundary = "answer lost"
	// after the manager has the answer, and before it does anything about it.
	after boundary = "after"
	// held on its way, until the next manager has acted.
	held boundary = "held"
)

var boundaries = [...]boundary{before, answerLost, after, held}

// gate stands between a manager and both of its servers. It counts the manager's
// writes and stops it at one of them.
type gate struct {
	mu      sync.Mutex
	armed   bool
	stopAt  stop
	where   boundary
	writes  []string // since it was armed
	calls   int      // of the hub, since the manager was killed
	tripped bool
	resumed bool // there is a manager again

	stopped chan struct{} // closed when the write has come as far as its boundary
	knocked chan struct{} // closed when the manager wanted more after that
	killed  chan struct{} // closed when the manager is dead
	late    func() int    // lets a held write through; returns the answer's status
}

func newGate() *gate {
	return &gate{stopped: make(chan struct{}), knocked: make(chan struct{}), killed: make(chan struct{})}
}

// stop is the write at which a manager is stopped: the n-th of all, or of those that have a name. The
// zero value never comes.
type stop struct {
	n    int
	name string
}

// comes tells whether the last of some writes is the one.
func (s stop) comes(writes []string) bool {
	if s.name == "" {
		return len(writes) == s.n
	}
	n := 0
	for _, name := range writes {
		if name == s.name {
			n++
		}
	}
	return n == s.n && writes[len(writes)-1] == s.name
}

func (g *gate) arm(stopAt stop, where boundary) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed, g.stopAt, g.where = true, stopAt, where
}

// resume lets everything through that comes from now on, to be called when the
// manager is dead.
func (g *gate) resume() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.resumed = true
	close(g.killed)
}

// hasStopped tells whether the manager has come to the write at which it is stopped.
func (g *gate) hasStopped() bool {
	select {
	case <-g.stopped:
		return true
	default:
		return false
	}
}

// disarm has no write stop the manager any more. It reports false where one has.
func (g *gate) disarm() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.stopAt = stop{}
	return !g.tripped
}

// written are the names of the writes so far.
func (g *gate) written() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]string(nil), g.writes...)
}

// asked is how often a manager called the hub after the one that was killed.
func (g *gate) asked() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls
}

// what is to become of a request.
type fate int

const (
	passes fate = iota
	isStopped
	isTooLate // the manager is to be killed: it gets nothing done any more
)

func (g *gate) arrive(name string) fate {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.tripped && !g.resumed {
		select {
		case <-g.knocked:
		default:
			close(g.knocked)
		}
		return isTooLate
	}
	if name == "" || !g.armed {
		return passes
	}
	g.writes = append(g.writes, name)
	if g.tripped || !g.stopAt.comes(g.writes) {
		return passes
	}
	g.tripped = true
	return isStopped
}

// guard stands before a server. name tells what write a request is, "" for none that counts.
func (g *gate) guard(server http.Handler, name func(*http.Request) string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch g.arrive(name(r)) {
		case passes:
			server.ServeHTTP(w, r)
		case isTooLate:
			<-g.killed
			panic(http.ErrAbortHandler)
		case isStopped:
			g.stop(server, w, r)
		}
	})
}

// stop takes the write as far as its boundary.
func (g *gate) stop(server http.Handler, w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	apply := func() *httptest.ResponseRecorder {
		kept := r.Clone(context.WithoutCancel(r.Context()))
		kept.Body = io.NopCloser(bytes.NewReader(body))
		answer := httptest.NewRecorder()
		server.ServeHTTP(answer, kept)
		return answer
	}
	switch g.where {
	case answerLost:
		apply()
	case after:
		answer := apply()
		maps.Copy(w.Header(), answer.Header())
		w.WriteHeader(answer.Code)
		_, _ = w.Write(answer.Body.Bytes())       // the manager is about to be killed anyway
		_ = http.NewResponseController(w).Flush() // as above
	case held:
		g.late = func() int { return apply().Code }
	case before: // the request is lost
	}
	close(g.stopped)
	<-g.killed
	panic(http.ErrAbortHandler)
}

var (
	setPath      = regexp.MustCompile(`^/apis/iothub\.devicetwin\.io/[^/]+/namespaces/[^/]+/devicetwinsets/[^/]+(/status)?$`)
	revisionPath = regexp.MustCompile(`^/apis/apps/v1/namespaces/[^/]+/controllerrevisions(/|$)`)
	twinPath     = regexp.MustCompile(`^/apis/iothub\.devicetwin\.io/[^/]+/namespaces/[^/]+/devicetwins/[^/]+(/status)?$`)
	secretPath   = regexp.MustCompile(`^/api/v1/namespaces/[^/]+/secrets(/|$)`)
)

// apiWrite names the writes to the API server that are about DeviceTwins and DeviceTwinSets; events
// are not among them.
func apiWrite(r *http.Request) string {
	if r.Method == http.MethodGet {
		return ""
	}
	site := " by " + r.Header.Get(callSite)
	match := twinPath.FindStringSubmatch(r.URL.Path)
	switch {
	case match != nil && match[1] == "":
		return "metadata" + site
	case match != nil:
		return "status" + site
	case secretPath.MatchString(r.URL.Path):
		return "Secret" + site
	case revisionPath.MatchString(r.URL.Path):
		return "revision" + site
	}
	if match := setPath.FindStringSubmatch(r.URL.Path); match != nil {
		return map[bool]string{true: "set's metadata", false: "set's status"}[match[1] == ""] + site
	}
	return ""
}

// hubWrite names the writes to the hub by the functions that send them.
func hubWrite(r *http.Request) string {
	switch r.Method {
	case http.MethodPatch:
		return "twin by PatchTwin"
	case http.MethodPut:
		if r.Header.Get("If-Match") != "" {
			return "identity by UpdateIdentity"
		}
		return "identity by CreateIdentity"
	case http.MethodDelete:
		return "identity by DeleteIdentity"
	}
	return ""
}

// countCalls counts what a manager asks of the hub after the one that was killed.
func (g *gate) countCalls(server http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		if g.resumed {
			g.calls++
		}
		g.mu.Unlock()
		server.ServeHTTP(w, r)
	})
}
