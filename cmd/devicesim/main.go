// Command devicesim plays one IoT Hub device over MQTT until it is asked to
// stop. It prints what happens to the device on standard output, and why a
// connection failed on standard error.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	_ "time/tzdata" // for TZ, in images that hold no files of zones

	"github.com/spf13/pflag"

	"github.com/devicetwin-io/devicetwin-operator/devicesim"
	"github.com/devicetwin-io/devicetwin-operator/internal/version"
)

const help = `devicesim plays one IoT Hub device: it connects over MQTT with the device's own
connection string, reads its twin, prints every change of its desired properties,
reports its connectivity, and acknowledges what is desired by reporting it back.
It reconnects when the connection is lost, and leaves cleanly on SIGTERM or Ctrl-C.

Usage:
  devicesim --connection-string-file FILE [flags]

Examples:
  # a device of an Azure IoT Hub
  az iot hub device-identity connection-string show --hub-name HUB --device-id ID \
    --query connectionString -o tsv > device.txt
  devicesim --connection-string-file device.txt --connectivity wifi

  # a device of a hub emulator on this machine
  hubemulator --data-dir hub --device thermostat-1 &
  jq -r '.devices["thermostat-1"]' hub/connections.json > device.txt
  devicesim --connection-string-file device.txt --ca-file hub/ca.crt --mqtt-address 127.0.0.1:8883

Flags:
`

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case err == nil, errors.Is(err, pflag.ErrHelp):
	default:
		fmt.Fprintln(os.Stderr, "devicesim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	flags := pflag.NewFlagSet("devicesim", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	connectionStringFile := flags.String("connection-string-file", "", "file with the device's connection string (required)")
	caFile := flags.String("ca-file", "", "file with the PEM certificates to trust; the system's roots when empty")
	mqttAddress := flags.String("mqtt-address", "", "host:port to connect to; the connection string's host on port 8883 when empty")
	connectivity := flags.String("connectivity", "cellular", "what to report as the property connectivity; nothing when empty")
	showVersion := flags.Bool("version", false, "print the version and stop")
	flags.Usage = func() { fmt.Fprint(stderr, help+flags.FlagUsages()) }
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q: devicesim takes flags only", flags.Arg(0))
	}
	if *showVersion {
		fmt.Fprintln(stdout, version.Line("devicesim"))
		return nil
	}
	opts := devicesim.Options{
		MQTTAddress:  *mqttAddress,
		Connectivity: *connectivity,
		Output:       stdout,
		Logger:       slog.New(slog.NewTextHandler(stderr, nil)),
	}
	if err := readFiles(&opts, *connectionStringFile, *caFile); err != nil {
		return err
	}
	device, err := devicesim.New(opts)
	if err != nil {
		return err
	}
	return device.Run(ctx)
}

func readFiles(opts *devicesim.Options, connectionStringFile, caFile string) error {
	if connectionStringFile == "" {
		return errors.New("--connection-string-file is required: a file with HostName=…;DeviceId=…;SharedAccessKey=…")
	}
	text, err := os.ReadFile(connectionStringFile)
	if err != nil {
		return fmt.Errorf("--connection-string-file: %w", err)
	}
	opts.ConnectionString = string(text)
	if caFile == "" {
		return nil
	}
	if opts.CA, err = os.ReadFile(caFile); err != nil {
		return fmt.Errorf("--ca-file: %w", err)
	}
	if len(opts.CA) == 0 {
		return fmt.Errorf("--ca-file: %s is empty", caFile)
	}
	return nil
}
