package hubemulator

import "github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/mqttfront"

// newMQTT returns the devices' side of the hub.
func newMQTT(cfg mqttConfig) (mqttServer, error) {
	return mqttfront.New(mqttfront.Config(cfg))
}
