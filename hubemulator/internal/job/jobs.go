package job

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/count"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

// history is how long the hub remembers a job that has ended. IoT Hub documents
// 30 days, and not since when.
const history = 30 * 24 * time.Hour

// Config is what jobs work on.
type Config struct {
	Store    *store.Store
	Counters *count.Set
	Faults   *fault.Set
	Limits   *throttle.Limits // nil for a hub without any
	Clock    clock.Clock
	// Dialect is what a query condition is written in.
	Dialect query.Dialect
}

// Jobs are the scheduled jobs of one hub. It is safe for concurrent use.
type Jobs struct {
	Config

	mu       sync.Mutex
	sequence uint64
	revision uint64
	byID     map[string]*Job
	inOrder  []*Job          // by sequence
	working  map[string]bool // the jobs that Run works on
	changed  chan struct{}   // holds a value when there is something to do for Run
}

// New returns a hub without jobs.
func New(config Config) *Jobs {
	return &Jobs{Config: config, byID: map[string]*Job{}, working: map[string]bool{}, changed: make(chan struct{}, 1)}
}

// View is a job as the service API shows it.
type View struct {
	Job
	// Statistics is nil until the job's devices are known.
	Statistics *Statistics
}

// view is to be called with the lock held.
func (j *Job) view() View {
	view := View{Job: j.header()}
	if j.Targeted {
		counted := j.statistics()
		view.Statistics = &counted
	}
	return view
}

// Create queues the job that a body describes. Refusals are of type
// *store.Error.
func (j *Jobs) Create(id string, body []byte) (View, error) {
	now := j.Clock.Now().UTC()
	created, err := j.parse(id, body, now)
	if err != nil {
		return View{}, err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forget(now)
	if j.byID[id] != nil {
		return View{}, &store.Error{Status: http.StatusConflict, Number: 409104, Code: "JobAlreadyExists",
			Text: fmt.Sprintf("A job with ID '%s' already exists.", id)}
	}
	if limit := j.Limits.ActiveJobs(); limit > 0 && j.active() >= limit {
		return View{}, &store.Error{Status: http.StatusTooManyRequests, Number: 429004, Code: "ThrottlingMaxActiveJobCountExceeded",
			Text: fmt.Sprintf("The hub has %d jobs that are scheduled or running, and may have no more", limit)}
	}
	j.sequence++
	created.Sequence = j.sequence
	j.byID[id] = &created
	j.inOrder = append(j.inOrder, &created)
	j.touch()
	return created.view(), nil
}

func (j *Jobs) active() int {
	active := 0
	for _, job := range j.inOrder {
		if job.Status.active() {
			active++
		}
	}
	return active
}

// Get returns a job; found is false for one that there is not, or that was
// forgotten.
func (j *Jobs) Get(id string) (view View, found bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forget(j.Clock.Now())
	if job := j.byID[id]; job != nil {
		return job.view(), true
	}
	return View{}, false
}

// Cancel ends a job that has not started yet.
func (j *Jobs) Cancel(id string) (View, error) {
	now := j.Clock.Now().UTC()
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forget(now)
	job := j.byID[id]
	if job == nil {
		return View{}, &store.Error{Status: http.StatusNotFound, Number: 404002, Code: "JobNotFound",
			Text: fmt.Sprintf("There is no job with ID '%s'.", id)}
	}
	if !job.Status.waiting() {
		return View{}, &store.Error{Status: http.StatusMethodNotAllowed, Number: 405102, Code: "OperationNotAllowedInCurrentState",
			Text: fmt.Sprintf("The job is %s; only a job that is queued or scheduled can be cancelled.", job.Status)}
	}
	job.Status, job.End = Cancelled, now
	j.touch()
	return job.view(), nil
}

// Filter chooses jobs; an empty member takes all.
type Filter struct {
	Type   Type
	Status Status
}

// List returns up to limit jobs behind a sequence number, in the order of their
// creation.
func (j *Jobs) List(wanted Filter, after uint64, limit int) []View {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.forget(j.Clock.Now())
	views := []View{}
	for _, job := range j.behind(after) {
		if len(views) == limit {
			break
		}
		if (wanted.Type == "" || job.Type == wanted.Type) && (wanted.Status == "" || job.Status == wanted.Status) {
			views = append(views, job.view())
		}
	}
	return views
}

// behind returns the jobs with higher sequence numbers.
func (j *Jobs) behind(sequence uint64) []*Job {
	next, _ := slices.BinarySearchFunc(j.inOrder, sequence+1, func(job *Job, sequence uint64) int {
		return cmp.Compare(job.Sequence, sequence)
	})
	return j.inOrder[next:]
}

// forget drops the jobs that ended long ago.
func (j *Jobs) forget(now time.Time) {
	expired := func(job *Job) bool { return !job.Status.active() && now.Sub(job.End) >= history }
	if !slices.ContainsFunc(j.inOrder, expired) {
		return
	}
	j.inOrder = slices.DeleteFunc(j.inOrder, func(job *Job) bool {
		if expired(job) {
			delete(j.byID, job.ID)
			return true
		}
		return false
	})
	j.revision++
}

// touch is to be called, with the lock held, after every change.
func (j *Jobs) touch() {
	j.revision++
	select {
	case j.changed <- struct{}{}:
	default: // Run will look anyway
	}
}
