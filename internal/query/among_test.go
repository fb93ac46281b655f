package query_test

import (
	"slices"
	"testing"

	. "github.com/onsi/gomega"
	"pgregory.net/rapid"

	"github.com/devicetwin-io/devicetwin-operator/internal/query"
)

func TestAmong(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		condition string
		among     []string // nil where all are possible
	}{
		{`deviceId = 'a'`, []string{"a"}},
		{`'a' = DEVICEID`, []string{"a"}},
		{`devices.deviceId = "a"`, []string{"a"}},
		{`deviceId IN ['b', 'a', 'b']`, []string{"a", "b"}},
		{`deviceId IN []`, []string{}},
		{`deviceId IN ['a', 'b'] AND tags.x = 1`, []string{"a", "b"}},
		{`tags.x = 1 AND (deviceId = 'a' AND NOT tags.y)`, []string{"a"}},
		{`deviceId IN ['a', 'b', 'c'] AND deviceId IN ['c', 'b', 'd'] AND deviceId != 'b'`, []string{"b", "c"}},
		{`deviceId = 'a' AND deviceId = 'b'`, []string{}},
		{`deviceId = 'a' OR deviceId IN ['b', 'c']`, []string{"a", "b", "c"}},
		{`(deviceId = 'a' AND tags.x = 1) OR (tags.y = 2 AND deviceId = 'b')`, []string{"a", "b"}},
		{`(deviceId = 'a' OR tags.x = 1) AND deviceId = 'b'`, []string{"b"}},
		{`false`, []string{}},
		{`deviceId = 'a' OR false`, []string{"a"}},
		{`deviceId = 'a' AND true`, []string{"a"}},
		{`null OR 1`, []string{}},

		{`true`, nil},
		{`deviceId = 'a' OR true`, nil},
		{`deviceId = 'a' OR tags.x = 1`, nil},
		{`NOT (deviceId = 'a')`, nil},
		{`NOT (deviceId != 'a')`, nil},
		{`deviceId != 'a'`, nil},
		{`deviceId >= 'a'`, nil},
		{`deviceId NIN ['a']`, nil},
		{`deviceId = 1`, nil},
		{`deviceId = null`, nil},
		{`deviceId IN ['a', 1]`, nil},
		{`deviceId = tags.x`, nil},
		{`deviceId.x = 'a'`, nil},
		{`tags.deviceId = 'a'`, nil},
		{`moduleId IN ['a']`, nil},
		{`STARTSWITH(deviceId, 'a')`, nil},
		{`IS_DEFINED(deviceId)`, nil},
		{`deviceId`, nil},
	} {
		t.Run(tt.condition, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			parsed, err := query.Parse("SELECT * FROM devices WHERE " + tt.condition)
			g.Expect(err).NotTo(HaveOccurred())
			among, bounded := parsed.Among("deviceId")
			g.Expect(bounded).To(Equal(tt.among != nil))
			g.Expect(among).To(Equal(append([]string(nil), tt.among...)))
		})
	}
	g := NewWithT(t)
	everything, err := query.Parse("SELECT * FROM devices")
	g.Expect(err).NotTo(HaveOccurred())
	_, bounded := everything.Among("deviceId")
	g.Expect(bounded).To(BeFalse())
}

// Whatever the condition, no document is selected that has another text.
func TestAmongLeavesNothingOut(t *testing.T) {
	t.Parallel()
	named := 0
	rapid.Check(t, func(t *rapid.T) {
		text := conditionText(3).Draw(t, "condition")
		if rapid.Bool().Draw(t, "by its name") {
			text = "(" + text + ") AND " + rapid.SampledFrom([]string{
				"deviceId IN ['a', 'b']", "(deviceId = 'a' OR deviceId = 'x' AND tags.a = 1)", "deviceId = 'b'",
			}).Draw(t, "names")
		}
		parsed, err := query.Parse("SELECT * FROM devices WHERE " + text)
		if err != nil {
			t.Fatal(err)
		}
		among, bounded := parsed.Among("deviceId")
		if !bounded {
			return
		}
		named++
		for _, doc := range rapid.SliceOfN(twinDocument(), 5, 5).Draw(t, "twins") {
			doc["deviceId"] = rapid.SampledFrom([]string{"a", "b", "x", "'", `\`}).Draw(t, "id")
			if parsed.Selects(query.Object(doc)) && !slices.Contains(among, doc["deviceId"].(string)) {
				t.Fatalf("%s selects %v, which is not among %q", text, doc, among)
			}
		}
	})
	if named == 0 {
		t.Fatal("no condition bounded the ids")
	}
}
