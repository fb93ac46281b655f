package httpserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

const patience = 10 * time.Second

// talk opens a connection and says what a client sends.
func talk(t *testing.T, server *httptest.Server, text string) net.Conn {
	t.Helper()
	g := NewWithT(t)
	var dialer net.Dialer
	connection, err := dialer.DialContext(t.Context(), "tcp", server.Listener.Addr().String())
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { _ = connection.Close() })
	g.Expect(connection.SetReadDeadline(time.Now().Add(patience))).To(Succeed())
	_, err = io.WriteString(connection, text)
	g.Expect(err).NotTo(HaveOccurred())
	return connection
}

func bodies(t *testing.T, timeout time.Duration, handler http.HandlerFunc) *httptest.Server {
	t.Helper()
	server := httptest.NewServer(boundBodies(handler, timeout))
	t.Cleanup(server.Close)
	return server
}

// request is the head of one whose body has five bytes, and some of them.
func request(body string) string {
	return "PUT / HTTP/1.1\r\nHost: hub\r\nContent-Length: 5\r\n\r\n" + body
}

func TestSlowBodyIsCut(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	read := make(chan error, 1)
	server := bodies(t, 50*time.Millisecond, func(_ http.ResponseWriter, r *http.Request) {
		_, err := io.ReadAll(r.Body)
		read <- err
		panic(http.ErrAbortHandler)
	})
	connection := talk(t, server, request("12"))
	g.Eventually(read, patience).Should(Receive(MatchError(os.ErrDeadlineExceeded)))
	_, err := io.ReadAll(connection)
	g.Expect(errors.Is(err, os.ErrDeadlineExceeded)).To(BeFalse(), "the connection stays open")
}

// Who is refused before the body is read cannot stay either.
func TestSlowBodyThatIsNotWanted(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	server := bodies(t, 50*time.Millisecond, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusUnauthorized)
	})
	answer, err := io.ReadAll(talk(t, server, request("12")))
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(string(answer)).To(HavePrefix("HTTP/1.1 401"))
}

// A request that is there may take as long as it likes, and so may the next one
// on its connection.
func TestWholeRequestHasNoDeadline(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	const timeout = 20 * time.Millisecond
	server := bodies(t, timeout, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		select {
		case <-r.Context().Done(): // as when the client had left
			panic(http.ErrAbortHandler)
		case <-time.After(3 * timeout):
			_, _ = fmt.Fprintf(w, "got %s", body)
		}
	})
	connection := talk(t, server, request("12345"))
	for range 2 {
		answer := make([]byte, 1024)
		n, err := connection.Read(answer)
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(string(answer[:n])).To(HaveSuffix("got 12345"))
		_, err = io.WriteString(connection, request("12345"))
		g.Expect(err).NotTo(HaveOccurred())
	}
}
