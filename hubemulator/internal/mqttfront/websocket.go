package mqttfront

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"

	"github.com/gorilla/websocket"
)

// subprotocol is what a WebSocket client has to offer to speak MQTT.
const subprotocol = "mqtt"

var errNotBinary = errors.New("the client sent text; MQTT is binary")

// ServeHTTP takes a device's connection over WebSocket and returns when the
// connection has ended. The request's TLS state carries the device's
// certificate, if it has one.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if websocket.IsWebSocketUpgrade(r) && !slices.Contains(websocket.Subprotocols(r), subprotocol) {
		http.Error(w, "the WebSocket subprotocol has to be "+subprotocol, http.StatusBadRequest)
		return
	}
	upgrader := websocket.Upgrader{
		Subprotocols: []string{subprotocol},
		// Devices prove who they are in CONNECT, so that it does not matter
		// which page a browser's script came with.
		CheckOrigin: func(*http.Request) bool { return true },
	}
	upgraded, err := upgrader.Upgrade(w, r, nil)
	if err != nil {
		return // it has been answered
	}
	upgraded.SetReadLimit(maxPacketSize)
	if c := s.track(&socket{Conn: upgraded}, r.TLS); c != nil {
		s.serveConn(c)
	}
}

// socket makes a stream of a WebSocket's messages. One goroutine may read and
// one may write at a time; SetDeadline and Close may be called at any time.
type socket struct {
	*websocket.Conn
	message io.Reader // what is being read; nil between two messages
}

func (s *socket) Read(b []byte) (int, error) {
	for {
		if s.message == nil {
			kind, message, err := s.NextReader()
			if err != nil {
				return 0, fmt.Errorf("WebSocket: %w", err)
			}
			if kind != websocket.BinaryMessage {
				return 0, errNotBinary
			}
			s.message = message
		}
		n, err := s.message.Read(b)
		if errors.Is(err, io.EOF) {
			s.message, err = nil, nil
		}
		if n > 0 || err != nil {
			return n, err
		}
	}
}

func (s *socket) Write(b []byte) (int, error) {
	if err := s.WriteMessage(websocket.BinaryMessage, b); err != nil {
		return 0, fmt.Errorf("WebSocket: %w", err)
	}
	return len(b), nil
}

// SetDeadline goes past the WebSocket, whose own deadline for writing must not
// be set during a write.
func (s *socket) SetDeadline(t time.Time) error { return s.NetConn().SetDeadline(t) }
