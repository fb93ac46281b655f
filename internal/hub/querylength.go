package hub

import "unicode/utf8"

// QueryLength is how many characters the longest query takes that asks for the twins
// of a source which satisfy a condition; IoT Hub takes query.MaxLength.
func QueryLength(from Source, where string) int {
	if from == "" {
		from = Devices
	}
	listed := "SELECT " + selectedIDs[from] + " FROM " + string(from) + " WHERE (" + where + ")"
	return max(utf8.RuneCountInString(listed), utf8.RuneCountInString(countQuery(from, where)))
}
