package twin

import (
	"fmt"
	"strings"
	"testing"
)

// maxAnnotations is what Kubernetes allows for all annotations of one object.
const maxAnnotations = 256 << 10

func TestRecordOfTheLargestTwinsFitsAnAnnotation(t *testing.T) {
	t.Parallel()
	// The shapes with the most leaves for their size, each with two values in
	// flight everywhere.
	shapes := map[string]func(i, round int) (key string, value any){
		"empty strings under one-byte keys": func(i, _ int) (string, any) { return string(rune('A' + i%57)), "" },
		"one-byte values":                   func(i, round int) (string, any) { return string(rune('A' + i%57)), string(rune('0' + (i+round)%70)) },
		"two-byte values": func(i, round int) (string, any) {
			return string(rune('A' + i%57)), fmt.Sprintf("%02x", (i*7+round*91)%256)
		},
		"one wide character": func(i, round int) (string, any) {
			return string(rune(0x1f300 + i%57)), string(rune(0x1f300 + (i*7+round*91)%700))
		},
		"numbers": func(i, round int) (string, any) { return string(rune('A' + i%57)), float64(i*31 + round) },
	}
	for name, shape := range shapes {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			record := NewRecord(target)
			for round := range 2 {
				declared := Document{Tags: packed(8192, round, shape), Desired: packed(32768, round, shape)}
				if found := Validate(declared); len(found) > 0 {
					t.Fatal(found)
				}
				record = Make(Input{Declared: declared, Record: record}).Record
			}
			text, err := record.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if len(text) > maxAnnotations/2 {
				t.Errorf("%d bytes, want less than half of %d", len(text), maxAnnotations)
			}
			back, err := DecodeRecord(text)
			if err != nil || !back.Equal(record) {
				t.Errorf("does not read back (%v)", err)
			}
		})
	}
}

// packed fills a section up to its limit with groups of leaves below short keys.
func packed(limit, round int, shape func(i, round int) (string, any)) map[string]any {
	section := map[string]any{}
	for i, size := 0, 0; ; i++ {
		group := string(rune('A'+i/57%57)) + string(rune('A'+i/57/57))
		members, ok := section[group].(map[string]any)
		if !ok {
			members = map[string]any{}
			size += len(group)
		}
		key, value := shape(i, round)
		if size += textSize(key) + sizeOf(value); size > limit {
			return section
		}
		section[group] = members
		members[key] = value
	}
}

func TestRecordReadsAsJSONWhileItIsShort(t *testing.T) {
	t.Parallel()
	text, err := recordOf(Document{Tags: map[string]any{"location": map[string]any{"plant": "Redmond43"}}}).Encode()
	if err != nil {
		t.Fatal(err)
	}
	want := `{"v":1,"host":"hub.example","deviceId":"d1","uid":"u1","tags":{"location":{"plant":"`
	if !strings.HasPrefix(text, want) {
		t.Errorf("%s, want it to begin with %s", text, want)
	}
	if strings.Contains(text, "Redmond43") {
		t.Errorf("%s holds a value in the clear", text)
	}
}

func TestDecodeRecordRefuses(t *testing.T) {
	t.Parallel()
	tests := map[string]string{
		"no JSON":        `{`,
		"another format": `{"v":2,"host":"h","deviceId":"d"}`,
		"half a hash":    `{"v":1,"host":"h","deviceId":"d","tags":{"a":"abc"}}`,
		"a number":       `{"v":1,"host":"h","deviceId":"d","tags":{"a":1}}`,
		"a short mark":   `{"v":1,"host":"h","deviceId":"d","tags":{"a":"abcdef~abc"}}`,
		"no gzip":        `{"v":1,"host":"h","deviceId":"d","packed":"AAAA"}`,
		"endless depth":  `{"v":1,"host":"h","deviceId":"d","tags":` + strings.Repeat(`{"a":`, 5000) + `"abcdef"` + strings.Repeat(`}`, 5001),
	}
	for name, text := range tests {
		if record, err := DecodeRecord(text); err == nil {
			t.Errorf("%s: read as %+v", name, record)
		}
	}
	if record, err := DecodeRecord(""); err != nil || !record.Equal(Record{}) {
		t.Errorf("no annotation: %+v, %v", record, err)
	}
}
