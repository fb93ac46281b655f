// Package service is the HTTPS service API of an emulated IoT Hub.
package service

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"regexp"

	"github.com/google/uuid"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/count"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/entra"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/hostname"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/job"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// Config is what the service API works on.
type Config struct {
	Store    *store.Store
	Entra    *entra.Authorizer // nil for a hub that takes no Entra tokens
	Jobs     *job.Jobs
	Counters *count.Set
	Faults   *fault.Set
	Limits   *throttle.Limits // nil for a hub without any
	Clock    clock.Clock
	Choices  Choices
	// Names are those of the hub, if it has one for devices alone.
	Names hostname.Names
}

// Bounds of what is read of a request: several times the largest twin that a
// client could send back with all its metadata, and a hundred twins in bulk.
const (
	usualMaxBody = 1 << 20
	maxBulkBody  = 16 << 20
)

// apiVersion is any version's form; which ones exist is for Azure to know.
var apiVersion = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-preview)?$`)

type handler struct {
	Config
	errors errorWriter
	texts  texts
}

// New returns the service API's handler.
func New(config Config) http.Handler {
	return &handler{Config: config, errors: errorWriter{clock: config.Clock}}
}

// call is one request of a known operation.
type call struct {
	request    *http.Request // its context ends when the client goes away
	route      *route
	parameters map[string]string // what the path has in place of the route's placeholders
	id         store.ID          // of the device or module in the path

	header  http.Header
	query   func(name string) string
	body    []byte
	stale   bool          // whether a read is to miss the last write
	frozen  *store.Frozen // what a query is to see, nil for what there is
	counted count.Call
}

// answer is what a call comes to.
type answer struct {
	status int
	header map[string]string
	body   any
	text   []byte // the body as JSON, once it is encoded
}

// ServeHTTP implements http.Handler.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Server", "Microsoft-HTTPAPI/2.0")
	header.Set("Vary", "Origin")
	header.Set("x-ms-request-id", uuid.NewString())

	path, found := splitPath(r.URL.EscapedPath())
	if !found {
		h.errors.write(w, errNoRoute)
		return
	}
	matched, err := findRoute(r.Method, path)
	if err == nil && !matched.ofDevice() && !h.Choices.ServiceAtDeviceName && h.Names.ForDevices(r.Host) {
		err = errDevicesOnly
	}
	if err != nil {
		h.errors.write(w, err)
		return
	}
	parameters := matched.parameters(path)
	c := call{
		request: r, route: matched, parameters: parameters,
		id:     store.ID{Device: parameters["device"], Module: parameters["module"]},
		header: r.Header, query: r.URL.Query().Get,
		counted: h.Counters.Begin(matched.name),
	}
	if !h.serve(w, r, c, path) {
		panic(http.ErrAbortHandler) // net/http's way to cut a connection
	}
}

// unanswered stands for the status of a call without an answer.
const unanswered = 0

// serve answers a call of a known operation and counts it. It returns false
// when the connection has to be cut instead.
func (h *handler) serve(w http.ResponseWriter, r *http.Request, c call, path []string) bool {
	// Before the body: an unknown caller is not read.
	if err := h.admit(r, c, path); err != nil {
		return h.finish(w, c, answer{}, err)
	}
	var err error
	if c.body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, cmp.Or(c.route.maxBody, usualMaxBody))); err != nil {
		if _, isTooLarge := errors.AsType[*http.MaxBytesError](err); isTooLarge {
			return h.finish(w, c, answer{}, errBodyTooLarge)
		}
		return h.abandon(c)
	}
	return h.process(w, r, c)
}

// admit checks who is calling, and for which version.
func (h *handler) admit(r *http.Request, c call, path []string) error {
	if err := h.authorize(r, c, path); err != nil {
		return err
	}
	if !apiVersion.MatchString(c.query("api-version")) {
		return errAPIVersion
	}
	return nil
}

// authorize checks the credential of the caller: an Entra ID access
// token, or else a shared access signature; of a device its own.
func (h *handler) authorize(r *http.Request, c call, path []string) error {
	if c.route.ofDevice() {
		return h.authorizeDevice(r, c.id.Device)
	}
	credential := r.Header.Get("Authorization")
	token, isBearer := entra.Bearer(credential)
	if !isBearer {
		return h.Store.AuthorizeService(credential, h.Choices.need(c.route), path...)
	}
	if !h.Entra.Allows(r.Context(), token, c.route.actions...) {
		return store.Unauthorized()
	}
	return nil
}

// finish counts a call before its client can know that it was answered.
func (h *handler) finish(w http.ResponseWriter, c call, result answer, err error) bool {
	c.counted.End(statusOf(result, err))
	if err != nil {
		h.errors.write(w, err)
	} else {
		writeAnswer(w, result)
	}
	return true
}

// abandon counts a call whose client went away.
func (h *handler) abandon(c call) bool {
	c.counted.End(unanswered)
	return false
}

func statusOf(result answer, err error) int {
	if err != nil {
		return asRefusal(err).Status
	}
	return result.status
}
