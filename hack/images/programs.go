package main

import (
	"fmt"
	"path"
)

// The user that the programs run as. Kubernetes needs a number to see that it is not root.
const (
	userID = 65532
	user   = "65532:65532"
)

// program is what an image is made of.
type program struct {
	// name is that of the program; it stands at the root of the image.
	name string
	// image is the last part of the image's name.
	image       string
	title       string
	description string
	// args are given where a user gives none.
	args []string
	// data is a folder that the user may write to, where the program is started; empty for none.
	data string
}

func (p program) entrypoint() string { return path.Join("/", p.name) }

func (p program) workingDir() string {
	if p.data == "" {
		return "/"
	}
	return p.data
}

func programs() []program {
	return []program{
		{
			name: "manager", image: "devicetwin-operator", title: "DeviceTwin operator",
			description: "Keeps Azure IoT Hub device twins as declared by Kubernetes objects",
		},
		{
			name: "devicesim", image: "devicesim", title: "devicesim",
			description: "Plays one Azure IoT Hub device over MQTT, for tests and trials",
		},
		{
			name: "hubemulator", image: "hubemulator", title: "hubemulator",
			description: "A local Azure IoT Hub, for tests and trials",
			// By default it listens on loopback, which in a container is out of reach.
			args: []string{"--https-address=:8443", "--mqtt-address=:8883"}, data: "/data",
		},
		{
			name: "kubectl-twin", image: "kubectl-twin", title: "kubectl-twin",
			description: "Looks at Azure IoT Hub device twins that the DeviceTwin operator keeps: for pipelines and Jobs",
		},
	}
}

// find returns the programs of these names.
func find(names []string) ([]program, error) {
	var found []program
	for _, name := range names {
		n := len(found)
		for _, p := range programs() {
			if p.name == name {
				found = append(found, p)
			}
		}
		if len(found) == n {
			return nil, fmt.Errorf("there is no image for a program %q", name)
		}
	}
	return found, nil
}
