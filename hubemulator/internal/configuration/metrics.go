package configuration

import (
	"fmt"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

const ofEdgeDevices = "capabilities.iotEdge = true"

// SystemMetrics are the queries of the metrics that the hub itself adds, by the
// metrics' names. The one of the targets is empty when there are none.
func (c Configuration) SystemMetrics() map[string]string {
	status := fmt.Sprintf("configurations.[[%s]].status = 'Applied'", c.ID)
	switch c.Content.Kind() {
	case Edge:
		applied := "select deviceId from devices.modules where moduleId = '" + edgeAgent + "' and " + status
		reported := applied + " and properties.desired.$version = properties.reported.lastDesiredVersion" +
			" and properties.reported.lastDesiredStatus.code "
		return map[string]string{
			"targetedCount":           c.targetQuery(),
			"appliedCount":            applied,
			"reportedSuccessfulCount": reported + "= 200",
			"reportedFailedCount":     reported + "!= 200",
		}
	case Modules:
		return map[string]string{
			"targetedCount": c.targetQuery(),
			"appliedCount":  "select deviceId from devices.modules where " + status,
		}
	default:
		return map[string]string{
			"targetedCount": c.targetQuery(),
			"appliedCount":  "select deviceId from devices where " + status,
		}
	}
}

func (c Configuration) targetQuery() string {
	isEdge := c.Content.Kind() == Edge
	switch {
	case c.TargetCondition == "":
		return ""
	case c.Content.Kind() == Modules:
		return "select deviceId " + c.TargetCondition
	case isEdge && c.TargetCondition == everything:
		return "select deviceId from devices where " + ofEdgeDevices
	case isEdge:
		return "select deviceId from devices where " + ofEdgeDevices + " and " + asOperand(c.TargetCondition)
	case c.TargetCondition == everything:
		return "select deviceId from devices"
	}
	return "select deviceId from devices where " + c.TargetCondition
}

// asOperand puts a condition in parentheses where AND would tear it apart.
func asOperand(condition string) string {
	alone, err := query.ParseCondition(condition)
	if err != nil {
		return condition // was refused when it came
	}
	edge, err := query.ParseCondition(ofEdgeDevices)
	if err != nil {
		return condition
	}
	joined, err := query.ParseCondition(ofEdgeDevices + " and " + condition)
	if err == nil && joined.String() == query.And(edge, alone).String() {
		return condition
	}
	return "(" + condition + ")"
}
