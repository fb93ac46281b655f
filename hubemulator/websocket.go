package hubemulator

import "net/http"

// webSocketPath is where devices that cannot reach the MQTT port connect: it
// is on the HTTPS port, beside the service API.
const webSocketPath = "/$iothub/websocket"

// withWebSocket sends devices to one handler and everybody else to the other.
func withWebSocket(devices, service http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == webSocketPath {
			devices.ServeHTTP(w, r)
			return
		}
		service.ServeHTTP(w, r)
	})
}
