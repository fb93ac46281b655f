package twindoc

import "time"

const (
	// ticksAtUnixEpoch is the number of 100 ns intervals from the year 1 to 1970.
	ticksAtUnixEpoch = 621355968000000000
	ticksPerSecond   = 10_000_000
)

// Ticks is a time in ticks of 100 ns, which is as fine as the hub tells it; 0
// for a time that was not set, as for .NET.
func Ticks(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()*ticksPerSecond + int64(t.Nanosecond())/100 + ticksAtUnixEpoch
}

// TimeOf is the time of ticks, in UTC.
func TimeOf(ticks int64) time.Time {
	if ticks == 0 {
		return time.Time{}
	}
	ticks -= ticksAtUnixEpoch
	return time.Unix(ticks/ticksPerSecond, ticks%ticksPerSecond*100).UTC()
}

// Never is how .NET, and with it the hub, writes a time that was not set.
const Never = "0001-01-01T00:00:00Z"

// FormatTime writes a time as the hub does: UTC, up to seven digits of a
// second, without trailing zeros.
func FormatTime(t time.Time) string { return string(appendTime(nil, t)) }

func appendTime(text []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(text, Never...)
	}
	return t.UTC().Truncate(100*time.Nanosecond).AppendFormat(text, time.RFC3339Nano)
}
