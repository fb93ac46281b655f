package twin

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAcknowledge(t *testing.T) {
	t.Parallel()
	early, late := time.Unix(100, 0), time.Unix(200, 0)
	stamps := Stamps{Members: map[string]Stamps{
		"level": {Version: 3, Updated: late},
		"mode": {Version: 5, Updated: late, Members: map[string]Stamps{
			"name": {Version: 5, Updated: late}, "fan": {Version: 2, Updated: early},
		}},
	}}
	tests := map[string]struct {
		declared, reported string
		spoken             int
		pending, rejected  string
		accepted           string
		since              time.Time
	}{
		"equal values":                            {declared: `{"level":1,"mode":{"name":"x"}}`, reported: `{"level":1.0,"mode":{"name":"x","more":1}}`, spoken: 2},
		"nothing was reported so far":             {declared: `{"level":1}`, reported: `{"other":1}`, pending: "desired.level", since: late},
		"another value":                           {declared: `{"level":1}`, reported: `{"level":2}`, spoken: 1, pending: "desired.level", since: late},
		"an ack":                                  {declared: `{"level":1}`, reported: `{"level":{"value":9,"ac":200,"av":3}}`, spoken: 1},
		"an ack of an older version":              {declared: `{"level":1}`, reported: `{"level":{"value":1,"ac":200,"av":2}}`, spoken: 1, pending: "desired.level", since: late},
		"a refusal":                               {declared: `{"level":1}`, reported: `{"level":{"value":1,"ac":400,"av":3,"ad":"too much"}}`, spoken: 1, pending: "desired.level", rejected: `desired.level with code 400 ("too much")`, since: late},
		"a refusal of an older version":           {declared: `{"level":1}`, reported: `{"level":{"ac":400,"av":2}}`, spoken: 1, pending: "desired.level", since: late},
		"in progress":                             {declared: `{"level":1}`, reported: `{"level":{"value":0,"ac":202,"av":3,"ad":"in progress"}}`, spoken: 1, pending: "desired.level", accepted: `desired.level with code 202 ("in progress")`, since: late},
		"created":                                 {declared: `{"level":1}`, reported: `{"level":{"ac":201,"av":3}}`, spoken: 1, pending: "desired.level", accepted: "desired.level with code 201", since: late},
		"no content":                              {declared: `{"level":1}`, reported: `{"level":{"ac":204,"av":3}}`, spoken: 1, pending: "desired.level", accepted: "desired.level with code 204", since: late},
		"in progress, of an older version":        {declared: `{"level":1}`, reported: `{"level":{"ac":202,"av":2}}`, spoken: 1, pending: "desired.level", since: late},
		"a failure":                               {declared: `{"level":1}`, reported: `{"level":{"ac":500,"av":3}}`, spoken: 1, pending: "desired.level", rejected: "desired.level with code 500", since: late},
		"a code that is no HTTP status":           {declared: `{"level":1}`, reported: `{"level":{"ac":-1,"av":3}}`, spoken: 1, pending: "desired.level", rejected: "desired.level with code -1", since: late},
		"an old ack of a leaf without a stamp":    {declared: `{"mode":{"new":1}}`, reported: `{"mode":{"new":{"ac":200,"av":4}}}`, spoken: 1, pending: "desired.mode.new", since: late},
		"an ack of a leaf without a stamp":        {declared: `{"mode":{"new":{"deep":1}}}`, reported: `{"mode":{"new":{"ac":200,"av":5}}}`, spoken: 1},
		"an ack without a version":                {declared: `{"level":1}`, reported: `{"level":{"ac":200}}`, spoken: 1, pending: "desired.level", since: late},
		"an ack of a whole object":                {declared: `{"mode":{"name":"x","fan":1}}`, reported: `{"mode":{"value":{},"ac":200,"av":5}}`, spoken: 2},
		"an ack of an object counts leaf by leaf": {declared: `{"mode":{"name":"x","fan":1}}`, reported: `{"mode":{"ac":200,"av":4}}`, spoken: 2, pending: "desired.mode.name", since: late},
		"the nearest ack counts":                  {declared: `{"mode":{"fan":1}}`, reported: `{"mode":{"ac":400,"av":9,"fan":{"ac":200,"av":2}}}`, spoken: 1},
		"the oldest pending leaf counts":          {declared: `{"level":1,"mode":{"fan":1}}`, reported: `{}`, pending: "desired.level, desired.mode.fan", since: early},
		"an empty object":                         {declared: `{"mode":{}}`, reported: `{"mode":{"x":1}}`, spoken: 1},
		"a leaf that the hub has no stamp of":     {declared: `{"new":1}`, reported: `{}`, pending: "desired.new"},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := Acknowledge(object(t, tt.declared), stamps, object(t, tt.reported))
			said := func(replies []Reply) (text string) {
				for _, r := range replies {
					text += r.String()
				}
				return text
			}
			want := []any{tt.spoken, tt.pending, tt.rejected, tt.accepted, tt.since}
			if diff := cmp.Diff(want, []any{got.Spoken, got.Pending.String(), said(got.Rejected), said(got.Accepted), got.PendingSince}); diff != "" {
				t.Errorf("spoken, pending, rejected, accepted, since (-want +got):\n%s", diff)
			}
		})
	}
}

func TestWriter(t *testing.T) {
	t.Parallel()
	stamps := Stamps{Members: map[string]Stamps{
		"fan":  {By: "fan-rollout", Members: map[string]Stamps{"speed": {By: "fan-rollout"}, "mine": {}}},
		"else": {},
	}}
	for path, want := range map[string]string{
		"desired.fan.speed": "fan-rollout", "desired.fan.mine": "", "desired.fan.unstamped.deep": "fan-rollout",
		"desired.else": "", "desired.none": "", "tags.fan.speed": "",
	} {
		at, err := ParsePath(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := stamps.Writer(at); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
}
