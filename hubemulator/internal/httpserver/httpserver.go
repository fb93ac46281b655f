// Package httpserver runs the emulator's HTTP servers in one way.
package httpserver

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"
)

// The limits of a connection. There is none on a request's duration once it is
// there: a fault may hold it for as long as a test likes.
const (
	headerTimeout   = 10 * time.Second
	bodyTimeout     = 30 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = time.Second
)

// New returns a server whose requests end with the context running.
func New(running context.Context, logger *slog.Logger, handler http.Handler) *http.Server {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true) // IoT Hub's service API speaks nothing newer
	return &http.Server{
		Handler:           boundBodies(handler, bodyTimeout),
		Protocols:         protocols,
		ReadHeaderTimeout: headerTimeout,
		IdleTimeout:       idleTimeout,
		BaseContext:       func(net.Listener) context.Context { return running },
		ErrorLog:          slog.NewLogLogger(logger.Handler(), slog.LevelDebug),
	}
}

// boundBodies cuts requests whose body is not there in time: without a limit,
// a body that never ends would keep its connection open.
func boundBodies(next http.Handler, timeout time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 {
			// net/http lifts it when the body has been read to its end.
			if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(timeout)); err != nil {
				http.Error(w, err.Error(), http.StatusInternalServerError)
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// Shutdown lets requests finish that are being answered, but does not wait
// for connections that have not said anything yet.
func Shutdown(server *http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		return server.Close()
	}
	return err
}

// HostPort is the host of a server's https URLs: it carries the port of the
// address unless that is 443. An IPv6 address stands in brackets there, whether
// hostname has them or not.
func HostPort(hostname, address string) string {
	hostname = strings.Trim(hostname, "[]")
	_, port, err := net.SplitHostPort(address)
	switch {
	case err == nil && port != "443":
		return net.JoinHostPort(hostname, port)
	case strings.Contains(hostname, ":"):
		return "[" + hostname + "]"
	}
	return hostname
}
