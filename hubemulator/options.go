package hubemulator

import (
	"log/slog"
	"net/netip"
	"strings"
	"time"

	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/issuer"
)

// Options configure an emulated hub. The zero value is usable: everything
// listens on free ports of 127.0.0.1.
type Options struct {
	// HTTPSAddress, MQTTAddress and AdminAddress are where the service API,
	// the devices' MQTT and the plain-HTTP admin API listen, as host:port.
	// Port 0 picks a free one. Default "127.0.0.1:0".
	HTTPSAddress, MQTTAddress, AdminAddress string
	// Hostname goes into connection strings and the certificate. It may be an IPv6
	// address, with brackets or without. Default "localhost". With the name of an
	// IoT Hub, such as "contoso.azure-devices.net", the hub answers to that hub's
	// three names; see Server.HostNames and DialContext.
	Hostname string
	// DataDir, when set, receives ca.crt and connections.json, and keeps the
	// hub: started again with the same directory, it has the same policies,
	// certificates, devices, modules, twins, configurations, queues and jobs.
	// It is saved when it stops, and at intervals of the hub's clock before, 2
	// seconds as long as saving is quick. Empty means that nothing is kept.
	DataDir string
	// Ephemeral says to neither save nor restore the hub in DataDir.
	Ephemeral bool
	// Devices are registered at start, with fresh keys, unless DataDir has them.
	Devices []string
	// Fleet is registered at start, unless DataDir has it: each device and
	// module that the hub has already stays as it is.
	Fleet *Fleet
	// PolicyKeys are primary keys of shared access policies by the policies'
	// names, base64 of 16 to 64 bytes, in place of those that the hub has or
	// would make. With them, connection strings are known before the hub runs.
	PolicyKeys map[string]string
	// CACertificate and CAKey, in PEM, are the certificate authority that issues
	// the hub's certificate, in place of one that the hub has or would make.
	CACertificate, CAKey []byte
	// DeviceCAs are PEM certificates of the authorities that devices of
	// authentication type certificateAuthority may have theirs from.
	DeviceCAs []byte
	// Issuer, when set, starts an issuer of Entra ID's access tokens beside the
	// hub, which the hub trusts; Server.Issuer returns it. Its clock, host name
	// and logger are the hub's unless it has others.
	Issuer *issuer.Options
	// EntraIssuer is the issuer (claim iss) of the access tokens that the
	// service API takes, if that is not the hub's own issuer. Default: none.
	EntraIssuer string
	// EntraJWKS is where the public keys of EntraIssuer are: the https URL or
	// the file of a JSON Web Key Set. The keys at a URL are fetched at start,
	// every hour, and, once a minute at most, when a token names an unknown one.
	EntraJWKS string
	// EntraCAs are PEM certificates of the authorities to trust where EntraJWKS
	// is a URL. Default: the system's.
	EntraCAs []byte
	// EntraRoles are the role assignments at the hub: for each principal, by
	// its object id or application id, names of built-in roles such as "IoT Hub
	// Twin Contributor", or data actions as a custom role would have them, such
	// as "Microsoft.Devices/IotHubs/twins/read".
	EntraRoles map[string][]string
	// DisableLocalAuth refuses the keys of the hub's shared access policies, on
	// the service API and from devices. Devices' own keys stay good.
	DisableLocalAuth bool
	// Tier is the size of hub, as IoT Hub sells it, whose throttles and daily
	// quota apply: "F1", "S1", "S2" or "S3". Empty means no limits at all.
	Tier string
	// Units is how many units of the tier the hub has: 1 for F1, up to 200 for
	// S1 and S2, up to 10 for S3. Default 1. It takes a tier.
	Units int
	// FaultSeed decides which requests a Fault with a Probability applies to:
	// the same seed, faults and requests lead to the same outcome.
	FaultSeed int64
	// QueryLag is how late queries are: they find the twins as they were that
	// long ago. IoT Hub's are late by seconds. Default 0. Of more than 32
	// changes of one twin within this time, some are skipped.
	QueryLag time.Duration
	// QueryGhosts is how long queries go on to find a deleted device, as IoT
	// Hub's may for half an hour. Default 0. The hub remembers at most 10,000
	// deleted devices, also for QueryLag.
	QueryGhosts time.Duration
	// ConfigurationInterval is how often configurations are evaluated. A written
	// one is evaluated within ten seconds, or sooner if the interval is shorter.
	// Default: 5 minutes, as IoT Hub documents.
	ConfigurationInterval time.Duration
	// Choices say what the hub does where IoT Hub's own behaviour is not
	// established.
	Choices Choices
	// Clock tells the time for tokens, timestamps, throttles, the daily quota,
	// scheduled jobs and the delays of faults. Default: the real clock.
	Clock clock.Clock
	// Logger receives what is worth knowing about the server itself, never a
	// credential. Default: discarded.
	Logger *slog.Logger
}

const anyLoopbackPort = "127.0.0.1:0"

func (o Options) withDefaults() Options {
	for _, address := range []*string{&o.HTTPSAddress, &o.MQTTAddress, &o.AdminAddress} {
		if *address == "" {
			*address = anyLoopbackPort
		}
	}
	if o.Hostname == "" {
		o.Hostname = "localhost"
	}
	if address, err := netip.ParseAddr(strings.Trim(o.Hostname, "[]")); err == nil {
		o.Hostname = address.String() // clients spell it so, in the brackets that it is given back in
	}
	if o.ConfigurationInterval == 0 {
		o.ConfigurationInterval = 5 * time.Minute
	}
	if o.Clock == nil {
		o.Clock = clock.RealClock{}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}
