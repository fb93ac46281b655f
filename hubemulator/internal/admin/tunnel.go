package admin

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// tunnel leads a client to the hub by one of its names, as an HTTP proxy does:
// for programs that know a proxy (HTTPS_PROXY), and names that no DNS knows.
func (c Config) tunnel(w http.ResponseWriter, r *http.Request) {
	hub, err := c.Dial(r.Context(), r.Host)
	if err != nil {
		refuse(w, http.StatusBadGateway, err.Error())
		return
	}
	client, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		_ = hub.Close() // nothing was said on it yet
		refuse(w, http.StatusInternalServerError, err.Error())
		return
	}
	// A connection that was taken over does not end with its server.
	defer context.AfterFunc(r.Context(), func() { hangUp(client, hub) })()
	if _, err := io.WriteString(client, "HTTP/1.1 200 Connection established\r\n\r\n"); err != nil {
		hangUp(client, hub)
		return
	}
	var ways sync.WaitGroup
	for _, way := range []struct {
		to   net.Conn
		from io.Reader
	}{{hub, buffered}, {client, hub}} {
		ways.Go(func() {
			_, _ = io.Copy(way.to, way.from) // either end may hang up
			hangUp(client, hub)
		})
	}
	ways.Wait()
}

func hangUp(ends ...net.Conn) {
	for _, end := range ends {
		_ = end.Close() // the other end sees it
	}
}
