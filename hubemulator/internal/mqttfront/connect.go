package mqttfront

import (
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
)

// Return codes of MQTT 3.1.1's CONNACK.
const (
	connackAccepted        byte = 0
	connackWrongVersion    byte = 1
	connackUnavailable     byte = 3
	connackNotAuthorized   byte = 5
	protocolVersion311          = 4
	maxQoS                 byte = 1
	deviceUserNameSegments      = 3
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

// userName is what a device says about itself in MQTT's user name:
// {host}/{device}/?api-version=…, with or without the question mark.
type userName struct {
	host, clientID, apiVersion string
}

func parseUserName(text string) (userName, error) {
	// Ids may contain ? and &, but no /, so the query is what follows the
	// last one.
	segments := strings.Split(text, "/")
	if len(segments) < deviceUserNameSegments-1 || len(segments) > deviceUserNameSegments {
		return userName{}, errors.New("the user name is not {host}/{device id}/?api-version=…")
	}
	u := userName{host: strings.ToLower(segments[0]), clientID: segments[1]}
	if host, _, err := net.SplitHostPort(u.host); err == nil {
		u.host = host
	}
	if len(segments) == deviceUserNameSegments {
		// A pair that cannot be read does not spoil the others.
		values, _ := url.ParseQuery(strings.TrimPrefix(segments[2], "?"))
		if version := values.Get("api-version"); apiVersionPattern.MatchString(version) {
			u.apiVersion = version
		}
	}
	return u, nil
}

// accept decides about a CONNECT. When it returns nil, the device is connected
// as far as the hub is concerned; a refusal has been answered.
func (c *conn) accept(client *mqtt.Client, pk packets.Packet) error {
	counters := c.server.cfg.Counters
	c.deviceID = pk.Connect.ClientIdentifier
	dropAnswer, err := c.connect(client, pk)
	var refused *refusalError
	switch {
	case errors.As(err, &refused):
		counters.Add(opConnect, int(refused.code))
		return errors.Join(err, c.sendRefusal(client, refused.code))
	case err != nil:
		return err
	}
	counters.Add(opConnect, int(connackAccepted))
	if dropAnswer {
		return errDropAnswer
	}
	return nil
}

func (c *conn) connect(client *mqtt.Client, pk packets.Packet) (dropAnswer bool, err error) {
	user, err := c.check(pk)
	if err != nil {
		return false, err
	}
	verdict, err := c.server.cfg.Faults.Apply(c.ctx, opConnect, c.deviceID)
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
	credential, err := c.server.cfg.Store.AuthenticateDevice(c.deviceID, string(pk.Connect.Password))
	if err != nil {
		return false, notAuthorized("the credentials are not accepted: %v", err)
	}
	c.client, c.apiVersion, c.hasWill = client, user.apiVersion, pk.Connect.WillFlag
	c.setKeepAlive(pk.Connect.Keepalive)
	session, err := c.server.cfg.Store.Connect(credential, func(reason store.DropReason) {
		c.stop(errors.New(string(reason)))
	})
	if err != nil {
		return false, notAuthorized("the credentials are not accepted any more: %v", err)
	}
	c.session = session
	clock := c.server.cfg.Clock
	c.expiry = clock.NewTimer(credential.ExpiresAt.Sub(clock.Now()))
	c.wg.Go(c.writeLoop)
	c.wg.Go(c.requestLoop)
	return verdict.Action == fault.DropAnswer, nil
}

// check looks at everything in a CONNECT but the credentials.
func (c *conn) check(pk packets.Packet) (userName, error) {
	if pk.ProtocolVersion != protocolVersion311 {
		return userName{}, &refusalError{connackWrongVersion, "the protocol is not MQTT 3.1.1"}
	}
	user, err := parseUserName(string(pk.Connect.Username))
	if err != nil {
		return userName{}, notAuthorized("%v", err)
	}
	switch {
	case c.deviceID == "" || user.clientID != c.deviceID:
		return userName{}, notAuthorized("the client id is not the device id in the user name")
	case !slices.Contains(c.server.cfg.HostNames, strings.Trim(user.host, "[]")):
		return userName{}, notAuthorized("the user name is for another host: %q", user.host)
	case pk.Connect.WillFlag && pk.Connect.WillQos > maxQoS:
		return userName{}, notAuthorized("the will has QoS 2")
	case pk.Connect.WillFlag && !isTelemetryTopic(c.deviceID, pk.Connect.WillTopic):
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
