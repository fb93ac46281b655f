package hub

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/amenzhinsky/iothub/common"
	"github.com/amenzhinsky/iothub/iotservice"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
)

// Session talks to one IoT Hub with one credential. It is safe for concurrent use, retries nothing by itself, and
// returns errors of type *Error only.
type Session interface {
	// Dispatcher hands out the permits at this hub, to this session: of what all sessions of a pool with one host share
	// once the hub has accepted its credential, and of its own until then and after a refusal. Objects that wait for
	// a permit go along.
	Dispatcher() *dispatch.Share

	Names
	Credential
	Operations
}

// Operations are what a hub does for those who have a credential of it.
type Operations interface {
	Twins
	Registry
	Methods
}

// Names are those of a session's hub.
type Names interface {
	// Host is the name that the hub is known by, its classic one whichever was given: in lower case, with the port unless
	// that is 443.
	Host() string

	// Endpoint is the name that calls go to: the one that was given, or the service API's where that is the devices'.
	Endpoint() string
}

// Credential tells whether the hub takes a session's credential.
type Credential interface {
	// Probe makes one authenticated read, of the twin of a device that need not exist. It returns nil when the hub
	// accepted the credential.
	Probe(ctx context.Context) error

	// Proved tells that the hub has accepted the credential, and has not refused it since.
	Proved() bool
}

// Twins reads, changes and finds twins.
type Twins interface {
	Index
	Documents

	// GetTwin reads a twin.
	GetTwin(ctx context.Context, id ID) (*Twin, error)

	// PatchTwin merges the patch into a twin, provided its etag is still the given one, and returns the
	// twin as it is then. When the twin has moved on the reason is ReasonPreconditionFailed. Without an etag nothing
	// is sent: the change is refused.
	PatchTwin(ctx context.Context, id ID, etag string, patch Patch) (*Twin, error)
}

// Patch is a change of a twin. Objects merge, arrays and scalars replace, and a nil value deletes its key. A section
// that is nil or empty is not sent.
type Patch struct {
	Tags    map[string]any
	Desired map[string]any
}

// Config says how to reach a hub.
type Config struct {
	// ConnectionString is that of a service policy: HostName=…;SharedAccessKeyName=…;SharedAccessKey=….
	ConnectionString string

	// HostName and WorkloadIdentity are in place of a connection string.
	HostName         string
	WorkloadIdentity *WorkloadIdentity

	// CABundle holds the PEM certificates to trust instead of the system's; empty means the system's.
	CABundle []byte

	// AllowedHostSuffixes limits the hosts that may receive the credential. ".example.com" allows the names below
	// example.com and not that name, "example.com" that name alone. Without any, no host is allowed.
	AllowedHostSuffixes []string

	// Limits are how much of the hub may be used; those of a whole S1 hub where they are not set. When several
	// sessions of a pool lead to one host, those of the eldest hold for all of them, and each of the others stays
	// within its own as well.
	Limits dispatch.Limits

	// Age orders the sessions of a pool with one host.
	Age Age

	// Clock is what rate limits are measured by; nil means the real one.
	Clock clock.WithDelayedExecution

	// Metrics, when set, counts the requests.
	Metrics *Metrics

	// Dial makes the connections to the hub, as net.Dialer.DialContext does, which is used when nil.
	Dial func(ctx context.Context, network, address string) (net.Conn, error)

	// Fence, when set, is asked right before each change of the hub is sent. An error keeps it from being sent, with
	// ReasonNotLeading.
	Fence func() error

	// UserAgent goes out with every request; empty means "devicetwin-operator".
	UserAgent string
}

// Age tells which of two declarations is the elder, in a way on which all managers agree.
type Age struct {
	Created time.Time
	// UID decides between those that were created in the same second.
	UID string
}

func (a Age) before(other Age) bool {
	if !a.Created.Equal(other.Created) {
		return a.Created.Before(other.Created)
	}
	return a.UID < other.UID
}

const defaultUserAgent = "devicetwin-operator"

// probeDeviceID names the device whose twin Probe reads. Whether it exists makes no difference.
const probeDeviceID = "devicetwin-operator-probe"

// Open prepares a session. It makes no request: a wrong key or an unreachable host shows at the first call, a malformed
// connection string, a host that is not allowed and an unreadable CA bundle show here.
func Open(cfg Config) (Session, error) {
	return alone(cfg)
}

// alone prepares a session with a dispatcher to itself.
func alone(cfg Config) (*session, error) {
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	d := dispatch.New(dispatch.Options{Limits: cfg.Limits, Clock: cfg.Clock})
	return open(cfg, &standing{share: d.Share(cfg.Limits)})
}

// session is the Session of one connection string.
type session struct {
	host string
	// endpoint is the one of the hub's names that calls go to.
	endpoint string
	key      string // only to keep it out of error texts
	client   *iotservice.Client
	*standing
	// transport is kept to close its connections.
	transport *http.Transport
	metrics   *Metrics
	// documents is how many twins one page can hold, as far as was seen lately.
	documents pageRows
}

// open prepares a session with a standing.
func open(cfg Config, with *standing) (*session, error) {
	cs, err := cfg.target()
	if err != nil {
		return nil, err
	}
	if !hostAllowed(cs.host, cfg.AllowedHostSuffixes) {
		return nil, hostNotAllowed(cs.host, cfg.AllowedHostSuffixes)
	}
	transport, err := newTransport(cs.host, cfg.CABundle, cfg.Dial)
	if err != nil {
		return nil, err
	}
	if cfg.Clock == nil {
		cfg.Clock = clock.RealClock{}
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = defaultUserAgent
	}
	var signIn *tokens
	if cfg.WorkloadIdentity != nil {
		if signIn, err = newTokens(*cfg.WorkloadIdentity, cfg.Clock); err != nil {
			return nil, err
		}
	}
	httpClient := &http.Client{
		Transport:     newChain(transport, cs, cfg, with, signIn),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	client, err := iotservice.New(
		common.NewSharedAccessKey(cs.host, cs.policy, cs.key),
		iotservice.WithHTTPClient(httpClient),
		iotservice.WithLogger(discard{}),
	)
	if err != nil {
		return nil, &Error{Reason: ReasonMalformedConnectionString, Host: cs.host, detail: "the connection string was refused", err: err}
	}
	return &session{
		host: cs.name, endpoint: cs.host, key: cs.key, client: client, standing: with, transport: transport, metrics: cfg.Metrics,
	}, nil
}

// unusedKey stands where the library asks for a key, when no request goes out with a signature made from it.
const unusedKey = "bm8ga2V5"

// target is where to call a hub, and with which key.
type target struct {
	connectionString        // its host is the one to call
	name             string // that the hub is known by
}

func (cfg Config) target() (target, error) {
	given, err := cfg.given()
	if err != nil {
		return target{}, err
	}
	name := ClassicName(given.host)
	given.host = endpoint(given.host)
	return target{connectionString: given, name: name}, nil
}

// given is what the user says of the hub.
func (cfg Config) given() (connectionString, error) {
	if cfg.WorkloadIdentity == nil {
		return parseConnectionString(cfg.ConnectionString)
	}
	host, err := ParseHostName(cfg.HostName)
	if err != nil {
		return connectionString{}, malformed("hostName " + err.Error())
	}
	return connectionString{host: host, policy: "workloadIdentity", key: unusedKey}, nil
}

// Host implements Session.
func (s *session) Host() string { return s.host }

// Endpoint implements Session.
func (s *session) Endpoint() string { return s.endpoint }

// Proved implements Session.
func (s *session) Proved() bool { return s.proved() }

// Dispatcher implements Session.
func (s *session) Dispatcher() *dispatch.Share { return s.share }

// closeIdle drops the connections that are kept for later requests. The session stays usable.
func (s *session) closeIdle() { s.transport.CloseIdleConnections() }

// Probe implements Session.
func (s *session) Probe(ctx context.Context) error {
	ex := &exchange{op: opProbe, id: ID{Device: probeDeviceID}}
	if _, err := s.readTwin(ctx, ex); err != nil && ReasonOf(err) != ReasonDeviceNotFound {
		return err
	}
	return nil
}

// GetTwin implements Session.
func (s *session) GetTwin(ctx context.Context, id ID) (*Twin, error) {
	return s.readTwin(ctx, &exchange{op: opGetTwin, id: id})
}

func (s *session) readTwin(ctx context.Context, ex *exchange) (*Twin, error) {
	if err := ex.id.check(); err != nil {
		return nil, s.refused(ex, err.Error())
	}
	var err error
	if ex.id.Module == "" {
		_, err = s.client.GetDeviceTwin(withExchange(ctx, ex), ex.id.Device)
	} else {
		_, err = s.client.GetModuleTwin(withExchange(ctx, ex), ex.id.Device, ex.id.Module)
	}
	return s.answeredTwin(ctx, ex, err)
}

// PatchTwin implements Session.
func (s *session) PatchTwin(ctx context.Context, id ID, etag string, patch Patch) (*Twin, error) {
	ex := &exchange{op: opUpdateTwin, id: id}
	if err := id.check(); err != nil {
		return nil, s.refused(ex, err.Error())
	}
	if err := checkETag(etag); err != nil {
		return nil, s.refused(ex, err.Error())
	}
	if len(patch.Tags) == 0 && len(patch.Desired) == 0 {
		return nil, s.refused(ex, "the change is empty: it holds neither tags nor desired properties")
	}
	err := s.update(withExchange(ctx, ex), id, etag, patch)
	return s.answeredTwin(ctx, ex, err)
}

// update sends a fresh document with the changed parts alone: whatever else a twin holds would be written back with it,
// which wakes the device and is billed.
func (s *session) update(ctx context.Context, id ID, etag string, patch Patch) error {
	var properties *iotservice.Properties
	if len(patch.Desired) > 0 {
		properties = &iotservice.Properties{Desired: patch.Desired}
	}
	if id.Module != "" {
		_, err := s.client.UpdateModuleTwin(ctx, &iotservice.ModuleTwin{
			DeviceID: id.Device, ModuleID: id.Module, ETag: etag, Tags: patch.Tags, Properties: properties,
		})
		return err
	}
	_, err := s.client.UpdateDeviceTwin(ctx, &iotservice.Twin{DeviceID: id.Device, ETag: etag, Tags: patch.Tags, Properties: properties})
	return err
}

// answeredTwin reads the twin out of the answer itself, whatever the library made of it: the library's own model refuses
// a whole document for the spelling of one timestamp.
func (s *session) answeredTwin(ctx context.Context, ex *exchange, err error) (*Twin, error) {
	if ex.status != http.StatusOK {
		if err == nil {
			return nil, s.unexpected(ex, "it holds no twin")
		}
		return nil, s.failure(ctx, ex, err)
	}
	twin, err := ex.twinIn(ex.body)
	if err != nil {
		return nil, s.unexpected(ex, err.Error())
	}
	twin.RequestID = s.requestID(ex)
	return twin, nil
}

// checkETag refuses what IoT Hub would take for "any version": no etag, and a quoted asterisk as well as a bare one.
func checkETag(etag string) error {
	if etag == "" || etag == "*" {
		return fmt.Errorf("the change names no etag, so it would overwrite whatever others wrote; read the twin first")
	}
	if strings.ContainsFunc(etag, func(r rune) bool { return r <= ' ' || r == '"' || r >= 0x7f }) {
		return fmt.Errorf("the etag holds characters that no etag has; use the one that was read, without its quotes")
	}
	return nil
}

// discard is the library's logger: at its debug level it is handed whole requests with their credentials, and an
// environment variable can switch that on.
type discard struct{}

func (discard) Errorf(string, ...any) {}
func (discard) Warnf(string, ...any)  {}
func (discard) Infof(string, ...any)  {}
func (discard) Debugf(string, ...any) {}

// callTimeout is how long one request may take. IoT Hub holds requests over its rate back for up to a minute before it
// refuses them; giving up earlier would only send them again.
const callTimeout = 75 * time.Second
