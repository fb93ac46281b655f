// Command hubemulator runs a local Azure IoT Hub.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
	_ "time/tzdata" // for TZ, in images that hold no files of zones

	"github.com/spf13/pflag"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

// Exit codes: a wrong command line is told apart from a failure at work.
const (
	exitOK = iota
	exitFailure
	exitUsage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	os.Exit(run(ctx, os.Args[1:], os.Stdout, os.Stderr))
}

const usage = `hubemulator runs a local Azure IoT Hub: the service API over HTTPS and the
devices' MQTT over TLS, with keys and a certificate authority of its own.

When it is ready it writes two files to the data directory and prints one line:
  ca.crt            the certificate authorities that clients have to trust
  connections.json  connection strings and addresses (holds keys: mode 0600)

The hub itself is kept in the data directory:
  state.jsonl       keys, certificates, devices, modules, twins, configurations,
                    messages that devices do not have yet, scheduled jobs
                    (mode 0600); moved
                    away, the next start is with an empty hub
It is saved when the program stops, and within about 2 seconds of a change
before, so that a hub that is killed comes back as well. Connections, counters,
faults, and what is used of a quota are not kept. With --ephemeral, nothing is
kept when it stops: the state is neither read nor written.

A fleet (--fleet) is a file of YAML or JSON with devices to create:
  devices:
  - id: gateway
    iotEdge: true
  - id: thermostat-{{n}}     # thermostat-1 to thermostat-1000
    count: 1000
    parent: gateway
    tags: {location: {plant: Redmond43}, serial: "no-{{n}}"}
    desired: {power_level: 1}
    reported: {connectivity: {type: cellular}}
    modules:
    - id: filter
      desired: {threshold: 20}
Devices also have status, statusReason and authentication, which is written as
IoT Hub's: {type, symmetricKey: {primaryKey, secondaryKey}, x509Thumbprint:
{primaryThumbprint, secondaryThumbprint}}; modules have authentication and
managedBy. With a count, {{n}} in any text is the number of the device. Twins
are as freshly created: etag 1, version 2. A field that does not exist and a
twin that breaks a limit stop the start. Devices that the hub has already stay
as they are.

The admin address offers, in plain HTTP and without a password, to clients that
call it by an address, localhost or the hub's name and send application/json:
  GET    /emulator/healthz
  GET    /emulator/counters         POST /emulator/counters/reset
  GET    /emulator/faults           POST /emulator/faults
  DELETE /emulator/faults/{id}
  POST   /emulator/snapshots        keep what the hub holds now: {"id":"snapshot-1"}
  POST   /emulator/snapshots/{id}/restore
                                    make the hub that again, or only
                                    {"devices":["thermostat-1"]}
  DELETE /emulator/snapshots/{id}
  GET    /metrics                   the counters for Prometheus
  POST   /emulator/configurations/evaluate
                                    apply automatic device configurations and
                                    IoT Edge deployments now, count their metrics
  POST   /emulator/devices/{id}/commands
                                    a message to a device, which IoT Hub takes
                                    over AMQP only: {"body":"aGVsbG8="} (base64),
                                    messageId, correlationId, userId, contentType,
                                    contentEncoding, properties, expiry

A hub that is called like an IoT Hub (--hostname contoso.azure-devices.net) has
the three names of one: contoso.azure-devices.net, contoso.service.azure-devices.net
and contoso.device.azure-devices.net, all in its certificate and in
connections.json. As no DNS knows them, the admin address is an HTTP proxy to
the hub, and to nothing else, for programs that use HTTPS_PROXY.

Counters are kept per operation: calls, statuses, billedMessages and
peakConcurrency, and for a hub of a tier what is used of the daily quota.

A fault disturbs the requests that match it; the oldest match wins. Its fields:
  operation    a name from the counters, or * for all
  deviceId     only requests about this device
  probability  the share of them that is hit, above 0 and up to 1; default all.
               --fault-seed decides which: the same seed and requests, the same
               faults
  count        end after so many hits; 0 means never
  action       hold, hang  wait, unapplied, until the fault is deleted
               queue       the same for requests of the service API, but applied
                           then even if the client has gone meanwhile
               delay       wait for "delay" (such as "1.5s"), then go on
               status      refuse with "status" and "errorCode"
               reset       reset the connection, unapplied
               dropAnswer  apply, then cut the connection without an answer
               truncated   apply, then cut the connection amid the answer
               staleRead   reads of a twin, such as getTwin and mqttTwinGet:
                           answer as if the last write had not been
               indexStall  query: find twins as they were when the fault was
                           added, until it is deleted
               mqttDrop    cut the device's MQTT connection
               What jobs do to devices (jobUpdateTwin, jobInvokeMethod) has no
               connection of its own: it can be made to wait or refused.

With --tier the hub has the throttles and the daily quota of that tier. A burst
of two and a half times a limit passes at once, then requests queue at the
limit's rate, and who would wait over 3.5 seconds gets 429. Messages are
metered in 4 KB (F1: 0.5 KB) and reset at 00:00 UTC; when they are used up,
what costs messages gets 403 with IotHubQuotaExceeded. The tier also says how
many scheduled jobs there may be at a time, and how many devices a second they
work on; jobs wait for that as long as they have to.

The service API takes access tokens of Entra ID from one issuer: the one that
--entra-issuer and --entra-jwks name, or one of the hub's own, which
--issuer-address starts. --entra-role says what their bearers may do; roles in
a token count for nothing. A role is a data action as a custom role would have
it, such as "Microsoft.Devices/IotHubs/twins/read", or one of:
  IoT Hub Data Contributor      everything
  IoT Hub Data Reader           reading everything
  IoT Hub Registry Contributor  identities, not twins
  IoT Hub Twin Contributor      twins and queries
  Owner, Contributor, Reader    nothing: they are about the resource in Azure

The hub's own issuer is for workload identity: at its token endpoint, an
application (--issuer-app) gets an access token in exchange for the token of a
Kubernetes service account. connections.json has its URLs and its certificate
authority, which is in ca.crt as well. For azidentity, "authorityHost" is the
authority host, and instance discovery has to be disabled.

Usage:
  hubemulator [flags]

Examples:
  # a hub with one device; the connection strings are in hub/connections.json
  hubemulator --data-dir hub --device thermostat-1

  # free ports and a directory of its own, so that several hubs run side by side
  hubemulator --https-address 127.0.0.1:0 --mqtt-address 127.0.0.1:0 --admin-address 127.0.0.1:0 --data-dir hub2

  # fresh keys at every start, and the same devices
  hubemulator --ephemeral --fleet fleet.yaml

  # a free hub: slow, and with 8,000 messages a day
  hubemulator --tier F1

  # a hub with the three names of an IoT Hub, reached without DNS
  hubemulator --hostname contoso.azure-devices.net --device thermostat-1
  HTTPS_PROXY=http://127.0.0.1:8444 curl --cacert hubemulator-data/ca.crt https://contoso.service.azure-devices.net/

  # refuse every tenth query, the same ones in every run
  curl --json '{"operation":"query","probability":0.1,"action":"status","status":503}' http://127.0.0.1:8444/emulator/faults

  # only service account "twins" of namespace "plants" may read and write
  # twins; without --issuer-trusted, any cluster's will do, and forged ones
  hubemulator --issuer-address 127.0.0.1:8445 --disable-local-auth \
    --issuer-app c0000000-0000-4000-8000-000000000001=system:serviceaccount:plants:twins \
    --entra-role "c0000000-0000-4000-8000-000000000001=IoT Hub Twin Contributor"

  # make the next twin update wait until the fault is deleted
  curl --json '{"operation":"updateTwin","count":1,"action":"hold"}' http://127.0.0.1:8444/emulator/faults

Flags:
`

// run is main without the process: it serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	opts, verbose, err := parseFlags(args, stdout)
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "hubemulator: %v\nSee hubemulator --help.\n", err)
		return exitUsage
	}
	level := slog.LevelInfo
	if verbose {
		level = slog.LevelDebug
	}
	opts.Logger = slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: level}))
	server, err := hubemulator.Start(ctx, opts)
	if err != nil {
		fmt.Fprintf(stderr, "hubemulator: %v\n", err)
		return exitFailure
	}
	fmt.Fprintf(stdout, "hubemulator: ready at https://%s (MQTT %s, admin http://%s); connection strings in %s\n",
		server.HostName(), server.MQTTAddress(), server.AdminAddress(),
		filepath.Join(opts.DataDir, hubemulator.ConnectionsFile))
	<-ctx.Done()
	if err := server.Close(); err != nil {
		fmt.Fprintf(stderr, "hubemulator: stopping: %v\n", err)
		return exitFailure
	}
	return exitOK
}

func parseFlags(args []string, stdout io.Writer) (hubemulator.Options, bool, error) {
	var opts hubemulator.Options
	var verbose bool
	flags := pflag.NewFlagSet("hubemulator", pflag.ContinueOnError)
	flags.SetOutput(stdout)
	flags.SortFlags = false
	flags.StringVar(&opts.HTTPSAddress, "https-address", "127.0.0.1:8443", "`host:port` of the service API; port 0 picks a free one")
	flags.StringVar(&opts.MQTTAddress, "mqtt-address", "127.0.0.1:8883", "`host:port` of the devices' MQTT over TLS")
	flags.StringVar(&opts.AdminAddress, "admin-address", "127.0.0.1:8444", "`host:port` of the admin API; keep it on loopback")
	flags.StringVar(&opts.Hostname, "hostname", "localhost", "host `name` in connection strings and the certificate; see above for those of IoT Hub")
	flags.StringVar(&opts.DataDir, "data-dir", "hubemulator-data", "`directory` for ca.crt, connections.json and the hub's state; one hub at a time has it")
	flags.BoolVar(&opts.Ephemeral, "ephemeral", false, "keep nothing: do not read or write the hub's state in the data directory")
	flags.StringArrayVar(&opts.Devices, "device", nil, "`ID` of a device to create, if it is not there yet; repeat for more")
	flags.Func("fleet", "`file` of YAML or JSON with devices to create, see above", readFleet(&opts))
	deviceCAFile := flags.String("device-ca-file", "", "`file` with PEM certificates of the CAs that devices may have certificates from")
	given := addGivenFlags(flags)
	signIn := addEntraFlags(flags, &opts)
	flags.StringVar(&opts.Tier, "tier", "", "`size` of hub whose throttles and daily quota apply: F1, S1, S2 or S3; none by default")
	flags.IntVar(&opts.Units, "units", 0, "`number` of units of the tier; 1 by default")
	flags.Int64Var(&opts.FaultSeed, "fault-seed", 0, "`number` that decides which requests a fault with a probability hits")
	flags.DurationVar(&opts.QueryLag, "query-lag", 0, "`duration`, such as 2s, that queries are late: they find twins as they were then")
	flags.DurationVar(&opts.QueryGhosts, "query-ghosts", 0, "`duration`, such as 30m, that queries go on to find a deleted device")
	flags.DurationVar(&opts.ConfigurationInterval, "configuration-interval", 5*time.Minute, "`duration` between evaluations of configurations; a written one has its first within 10s")
	flags.Func("choose", "`name=value` of a choice listed below; repeat for more", choose(&opts.Choices))
	flags.BoolVar(&verbose, "verbose", false, "log failed TLS handshakes, why access tokens are refused, and the like")
	showVersion := flags.Bool("version", false, "print the version and stop")
	flags.Usage = func() { fmt.Fprint(stdout, usage+flags.FlagUsages()+choicesHelp()) }
	if err := flags.Parse(args); err != nil {
		return opts, verbose, err
	}
	if flags.NArg() > 0 {
		return opts, verbose, fmt.Errorf("unexpected argument %q: everything is set by flags", flags.Arg(0))
	}
	if *showVersion {
		fmt.Fprintln(stdout, version.Line("hubemulator"))
		return opts, verbose, pflag.ErrHelp // as after --help, there is nothing to run
	}
	if err := readInto(&opts.DeviceCAs, "device-ca-file", *deviceCAFile); err != nil {
		return opts, verbose, err
	}
	if err := given.apply(&opts); err != nil {
		return opts, verbose, err
	}
	if err := signIn.apply(&opts); err != nil {
		return opts, verbose, err
	}
	if opts.DataDir == "" {
		return opts, verbose, errors.New("--data-dir is empty: the connection strings have to go somewhere")
	}
	return opts, verbose, nil
}

func readFleet(opts *hubemulator.Options) func(string) error {
	return func(path string) (err error) {
		if opts.Fleet != nil {
			return errors.New("there is a fleet already; put all devices into one file")
		}
		opts.Fleet, err = hubemulator.ReadFleet(path)
		return err
	}
}

// readInto reads the file that a flag names, if it names one.
func readInto(content *[]byte, flag, file string) (err error) {
	if file == "" {
		return nil
	}
	if *content, err = os.ReadFile(file); err != nil {
		return fmt.Errorf("--%s cannot be used: %w", flag, err)
	}
	return nil
}
