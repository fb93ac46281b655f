package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator"
)

// The servers that the program runs as with --serve.
const (
	serveEmulator = "emulator"
	// serveLate is an emulator with very many devices from its start, whose queries
	// are late.
	serveLate = "late"
	serveBare = "bare"
)

// serving is how a server is reached. It is the first line that it prints.
type serving struct {
	HTTPS   string `json:"https"` // host:port
	MQTT    string `json:"mqtt"`  // the same; empty for the bare handler
	CA      []byte `json:"ca"`    // PEM
	Service string `json:"service"`
}

// order is what the program asks of a server, on a line of its standard input.
type order struct {
	// Answers replaces what the bare handler answers, by method.
	Answers map[string]recording `json:"answers,omitempty"`
	// ReportFrom and ReportTo are the devices that report, the latter excluded.
	ReportFrom int `json:"reportFrom,omitempty"`
	ReportTo   int `json:"reportTo,omitempty"`
}

// done is a server's line about an order that it carried out.
type done struct {
	Error string `json:"error,omitempty"`
	// Heap is what is in use of the heap after a garbage collection, in bytes.
	Heap uint64 `json:"heap"`
}

// server is either side of the comparison.
type server interface {
	serving() (serving, error)
	carryOut(order) error
	close() error
}

// serve runs a server until its orders end, which they do when the program that
// gives them is gone.
func serve(ctx context.Context, opts options, orders io.Reader, answers io.Writer) (err error) {
	s, err := startServer(ctx, opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	reached, err := s.serving()
	if err != nil {
		return err
	}
	input, output := json.NewDecoder(orders), json.NewEncoder(answers)
	if err := output.Encode(reached); err != nil {
		return err
	}
	for {
		var o order
		if err := input.Decode(&o); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		var answer done
		if err := s.carryOut(o); err != nil {
			answer.Error = err.Error()
		}
		answer.Heap = heapInUse()
		if err := output.Encode(answer); err != nil {
			return err
		}
	}
}

func startServer(ctx context.Context, opts options) (server, error) {
	switch opts.serve {
	case serveEmulator:
		hub, err := hubemulator.Start(ctx, hubemulator.Options{})
		return emulatorServer{hub}, err
	case serveLate:
		hub, err := hubemulator.Start(ctx, hubemulator.Options{QueryLag: largeLag, Fleet: largeFleet(opts.large)})
		return emulatorServer{hub}, err
	case serveBare:
		return startBare()
	}
	return nil, fmt.Errorf("--serve %q: there are %s, %s and %s", opts.serve, serveEmulator, serveLate, serveBare)
}

// heapInUse collects twice: what pools hold goes with the second time.
func heapInUse() uint64 {
	runtime.GC()
	runtime.GC()
	var stats runtime.MemStats
	runtime.ReadMemStats(&stats)
	return stats.HeapAlloc
}

type emulatorServer struct{ hub *hubemulator.Server }

func (s emulatorServer) serving() (serving, error) {
	service, err := s.hub.ServiceConnectionString("iothubowner")
	return serving{
		HTTPS: s.hub.HTTPSAddress(), MQTT: s.hub.MQTTAddress(), CA: s.hub.CACertificatePEM(), Service: service,
	}, err
}

// carryOut has devices report: over MQTT it would take as many connections.
func (s emulatorServer) carryOut(o order) error {
	for i := o.ReportFrom; i < o.ReportTo; i++ {
		if _, err := s.hub.Report(deviceID(i), reportedBody(i)); err != nil {
			return err
		}
	}
	return nil
}

func (s emulatorServer) close() error { return s.hub.Close() }
