package mqttfront

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/fault"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/throttle"
)

// Return codes of MQTT 3.1.1's CONNACK.
const (
	connackAccepted      byte = 0
	connackWrongVersion  byte = 1
	connackUnavailable   byte = 3
	connackNotAuthorized byte = 5
	protocolVersion311        = 4
	maxQoS               byte = 1
)

// apiVersionPattern is any date, since the hub accepts many: 2021-04-12,
// 2020-05-31-preview.
var apiVersionPattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}(-preview)?$`)

// refusalError is a CONNECT that the hub turns down.
type refusalError struct {
	code   byte // for CONNACK
	reason string
}

func (r *refusalError) Error() string { return r.reason }

func notAuthorized(format string, args ...any) *refusalError {
	return &refusalError{connackNotAuthorized, fmt.Sprintf(format, args...)}
}

// userName is what a device or module says about itself in MQTT's user name:
// {host}/{device}/?api-version=… or {host}/{device}/{module}/?api-version=…,
// with or without the question mark.
type userName struct {
	host, apiVersion string
	id               store.ID
	modelID          string // empty when it names none
}

// minUserName and maxUserName count the segments of a user name: host and
// device at least, module and query as well at most.
const minUserName, maxUserName = 2, 4

// parseUserName reads a user name. Whether its last segment is a module or the
// query, the client id says.
func parseUserName(text, clientID string) (userName, error) {
	// Ids may contain ? and &, but no /.
	segments := strings.Split(text, "/")
	device, module, hasModule := strings.Cut(clientID, "/")
	names := minUserName
	if hasModule {
		names++
	}
	if len(segments) < minUserName || len(segments) > maxUserName {
		return userName{}, errors.New("the user name is not {host}/{device id}/?api-version=…")
	}
	if device == "" || hasModule && module == "" || len(segments) < names || len(segments) > names+1 ||
		strings.Join(segments[1:names], "/") != clientID {
		return userName{}, errors.New("the client id is not the device id, or device and module id, in the user name")
	}
	u := userName{host: strings.ToLower(segments[0]), id: store.ID{Device: device, Module: module}}
	if host, _, err := net.SplitHostPort(u.host); err == nil {
		u.host = host
	}
	if len(segments) > names {
		query := strings.TrimPrefix(segments[names], "?")
		if version := parameter(query, "api-version"); apiVersionPattern.MatchString(version) {
			u.apiVersion = version
		}
		u.modelID = parameter(query, "model-id")
	}
	return u, nil
}

// parameter returns the first value of a name in a query, empty if there is
// none. Some of the hub's client libraries leave the semicolon of a model's
// name as it is, which net/url takes for an error.
func parameter(query, name string) string {
	for pair := range strings.SplitSeq(query, "&") {
		if value, found := strings.CutPrefix(pair, name+"="); found {
			decoded, err := url.QueryUnescape(value)
			if err == nil {
				return decoded
			}
		}
	}
	return ""
}

// accept decides about a CONNECT. When it returns nil, the device is connected
// as far as the hub is concerned; a refusal has been answered.
func (c *conn) accept(client *mqtt.Client, pk packets.Packet) error {
	counted := c.server.cfg.Counters.Begin(opConnect)
	dropAnswer, err := c.connect(c.begin(), client, pk)
	var refused *refusalError
	switch {
	case errors.As(err, &refused):
		code := c.server.cfg.Choices.connack(refused)
		counted.End(int(code))
		return errors.Join(err, c.sendRefusal(client, code))
	case err != nil:
		// 0 means accepted here, so that a CONNECT without an answer cannot be
		// told by it.
		counted.Cancel()
		return err
	}
	counted.End(int(connackAccepted))
	if dropAnswer {
		return errDropAnswer
	}
	return nil
}

func (c *conn) connect(ctx context.Context, client *mqtt.Client, pk packets.Packet) (dropAnswer bool, err error) {
	user, err := c.check(pk)
	if err != nil {
		return false, err
	}
	c.id = user.id
	verdict, err := c.server.cfg.Faults.Apply(ctx, opConnect, c.id.Device)
	if err != nil {
		return false, err
	}
	if verdict.Action == fault.Status {
		code := connackUnavailable
		if verdict.Status < http.StatusInternalServerError && verdict.Status != http.StatusTooManyRequests {
			code = connackNotAuthorized
		}
		return false, &refusalError{code, "refused by a fault rule"}
	}
	if cutsBefore(verdict) {
		return false, errFault
	}
	if err := c.server.cfg.Limits.Admit(ctx, throttle.DeviceConnect, 1); err != nil {
		if _, throttled := errors.AsType[*store.Error](err); throttled {
			return false, &refusalError{connackUnavailable, "too many connections at once: " + err.Error()}
		}
		return false, err
	}
	credential, err := c.authenticate(string(pk.Connect.Password))
	if err != nil {
		return false, notAuthorized("the credentials are not accepted: %v", err)
	}
	c.client, c.apiVersion, c.persistent = client, user.apiVersion, !pk.Connect.Clean
	if c.hasWill = pk.Connect.WillFlag; !c.emptyWill {
		c.will = pk.Connect.WillPayload
	}
	c.setKeepAlive(pk.Connect.Keepalive)
	session, err := c.server.cfg.Store.Connect(credential, func(reason store.DropReason) {
		c.stop(errors.New(string(reason)))
	})
	if err != nil {
		return false, notAuthorized("the credentials are not accepted any more: %v", err)
	}
	c.session = session
	if user.modelID != "" {
		session.AnnounceModel(user.modelID)
	}
	if !credential.ExpiresAt.IsZero() {
		clock := c.server.cfg.Clock
		c.expiry = clock.NewTimer(credential.ExpiresAt.Sub(clock.Now()))
	}
	c.holdSending() // until CONNACK is out
	if c.persistent {
		c.restoreSubscriptions(client)
	} else {
		session.ForgetSubscriptions()
	}
	c.wg.Go(func() { c.writeLoop(ctx) })
	c.wg.Go(func() { c.requestLoop(ctx) })
	return cutsAfter(verdict), nil
}

// authenticate takes a token, or a certificate from those who have no token.
func (c *conn) authenticate(token string) (store.Credential, error) {
	registry := c.server.cfg.Store
	switch certificates := c.certificates(); {
	case token == "" && len(certificates) > 0:
		return registry.AuthenticateCertificate(c.id, certificates)
	case c.id.Module != "":
		return registry.AuthenticateModule(c.id.Device, c.id.Module, token)
	default:
		return registry.AuthenticateDevice(c.id.Device, token)
	}
}

// check looks at everything in a CONNECT but the credentials.
func (c *conn) check(pk packets.Packet) (userName, error) {
	if pk.ProtocolVersion != protocolVersion311 {
		return userName{}, &refusalError{connackWrongVersion, "the protocol is not MQTT 3.1.1"}
	}
	user, err := parseUserName(string(pk.Connect.Username), pk.Connect.ClientIdentifier)
	if err != nil {
		return userName{}, notAuthorized("%v", err)
	}
	switch {
	case !slices.Contains(c.server.cfg.HostNames, strings.Trim(user.host, "[]")):
		return userName{}, notAuthorized("the user name is for another host: %q", user.host)
	case pk.Connect.WillFlag && pk.Connect.WillQos > maxQoS:
		return userName{}, notAuthorized("the will has QoS 2")
	case pk.Connect.WillFlag && !isTelemetryTopic(user.id, pk.Connect.WillTopic):
		return userName{}, notAuthorized("the will is not for the device's own telemetry topic")
	}
	return user, nil
}

// sendRefusal speaks MQTT 3.1.1 to any client: what a server that knows
// nothing newer would do.
func (c *conn) sendRefusal(client *mqtt.Client, code byte) error {
	client.Properties.ProtocolVersion = protocolVersion311
	return client.WritePacket(packets.Packet{
		FixedHeader: packets.FixedHeader{Type: packets.Connack},
		ReasonCode:  code,
	})
}
