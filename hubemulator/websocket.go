package hubemulator

import (
	"net/http"
	"slices"

	"github.com/gorilla/websocket"
)

// webSocketPath is where devices that cannot reach the MQTT port connect: it
// is on the HTTPS port, beside the service API.
const webSocketPath = "/$iothub/websocket"

// subprotocolAMQP is what clients offer who want to speak AMQP 1.0. They share
// the path, and the service API has an answer for them.
const subprotocolAMQP = "AMQPWSB10"

// withWebSocket sends devices to one handler and everybody else to the other.
func withWebSocket(devices, service http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == webSocketPath && !slices.Equal(websocket.Subprotocols(r), []string{subprotocolAMQP}) {
			devices.ServeHTTP(w, r)
			return
		}
		service.ServeHTTP(w, r)
	})
}
