package main

import "fmt"

// condition is one entry of an object's status.conditions.
type condition struct {
	Type    string `json:"type"`
	Status  string `json:"status"`
	Reason  string `json:"reason"`
	Message string `json:"message"`
}

// readiness renders the Ready condition in a few words.
func readiness(conditions []condition) (ready bool, seen string) {
	for _, c := range conditions {
		if c.Type == "Ready" {
			return c.Status == "True", fmt.Sprintf("Ready=%s %s (%s)", c.Status, c.Reason, c.Message)
		}
	}
	return false, "no Ready condition"
}

// deviceTwin is what the story reads of a DeviceTwin.
type deviceTwin struct {
	Metadata struct {
		Name       string `json:"name"`
		Generation int64  `json:"generation"`
	} `json:"metadata"`
	Status struct {
		ObservedGeneration int64       `json:"observedGeneration"`
		Conditions         []condition `json:"conditions"`
		Connectivity       string      `json:"connectivity"`
		Connection         struct {
			State string `json:"state"`
		} `json:"connection"`
		Memberships []string `json:"memberships"`
		Record      string   `json:"record"`
	} `json:"status"`
}

// twinQuery is what the story reads of a TwinQuery.
type twinQuery struct {
	Status struct {
		Conditions []condition `json:"conditions"`
		Count      *int64      `json:"count"`
		Devices    []string    `json:"devices"`
	} `json:"status"`
}
