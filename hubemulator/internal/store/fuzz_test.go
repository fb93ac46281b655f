package store_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// FuzzMerge writes two bodies into a twin and holds the outcome against the
// plain rule: objects merge, null deletes, anything else replaces.
func FuzzMerge(f *testing.F) {
	for _, seed := range [][2]string{
		{`{"tags":{"a":{"b":1,"c":[1,{"d":2}]}}}`, `{"tags":{"a":{"b":null,"c":[3]},"e":{"f":null}}}`},
		{`{"properties":{"desired":{"a":{"b":{}},"$version":7}}}`, `{"properties":{"desired":{"a":null,"b":"x"}}}`},
		{`{"properties":{"desired":{"a":1,"c":{"e":1,"g":2},"i":3}}}`, `{"properties":{"desired":{"b":1,"c":{"d":4,"f":5,"g":null,"h":6},"j":{}}}}`},
		{`{"tags":{"q\"":"\"","back\\":"\\","control":"\u0001\n","é":"é\u2028","html":["<&>",true,false,-1.5e3,{}]}}`, `{"tags":{"é":{"<":">"}}}`},
		{`{"tags":{"a":1},"properties":{"desired":{"a":{"b":1}}}}`, `{"properties":{"desired":null}}`},
		{`{"properties":{"desired":{"a":1}}}`, `{"tags":{},"properties":{"desired":{"a":{"b":1.50}},"reported":{"a":1}}}`},
	} {
		f.Add([]byte(seed[0]), []byte(seed[1]))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		h := newHub(t, "d1")
		want := plainTwin{tags: map[string]any{}, desired: map[string]any{}}
		want = write(t, h, h.ReplaceTwin, first, plainTwin{}, want)
		write(t, h, h.PatchTwin, second, want, want)
	})
}

// plainTwin is what a back end writes of a twin.
type plainTwin struct{ tags, desired map[string]any }

// write writes a body and checks what comes of it: the body merged into one
// twin if it is accepted, otherwise what there was.
func write(t *testing.T, h *hub, call func(store.ID, string, []byte) (*store.Snapshot, error), body []byte, into, before plainTwin) plainTwin {
	t.Helper()
	want := before
	twin, err := call(store.ID{Device: "d1"}, "", body)
	if err == nil {
		document := decodeObject(t, body)
		properties, _ := document["properties"].(map[string]any)
		if isNull(document, "tags") {
			into.tags = nil
		}
		if isNull(properties, "desired") {
			into.desired = nil
		}
		want = plainTwin{
			tags:    plainMerge(into.tags, document["tags"]),
			desired: plainMerge(into.desired, withoutMetadata(properties["desired"])),
		}
	} else {
		refusal(t, err)
		if twin, err = h.Store.Twin(store.ID{Device: "d1"}); err != nil {
			t.Fatal(err)
		}
	}
	document := twin.Document()
	tags, _ := document["tags"].(map[string]any)
	desired := document["properties"].(map[string]any)["desired"].(map[string]any)
	got := plainTwin{tags: plainMerge(nil, tags), desired: withoutMetadata(desired).(map[string]any)}
	if !reflect.DeepEqual(got, want) {
		t.Fatalf("%s\nbecame %v\nwant   %v", body, got, want)
	}
	mirrors(t, desired["$metadata"].(map[string]any), got.desired)
	expectSameJSON(t, twin)
	return want
}

func isNull(document map[string]any, name string) bool {
	value, present := document[name]
	return present && value == nil
}

// expectSameJSON checks that a twin's JSON is that of its document.
func expectSameJSON(t *testing.T, twin *store.Snapshot) {
	t.Helper()
	want, err := json.Marshal(twin.Document())
	if err != nil {
		t.Fatal(err)
	}
	got := twin.AppendJSON(nil)
	if !reflect.DeepEqual(decodeObject(t, got), decodeObject(t, want)) {
		t.Fatalf("the twin's JSON is\n%s\nand its document\n%s", got, want)
	}
}

func decodeObject(t *testing.T, body []byte) map[string]any {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var document map[string]any
	if err := decoder.Decode(&document); err != nil {
		t.Fatalf("%q is no JSON object: %v", body, err)
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		t.Fatalf("%q goes on after its object", body)
	}
	return document
}

func plainMerge(into map[string]any, patch any) map[string]any {
	merged := map[string]any{}
	maps.Copy(merged, into)
	content, _ := patch.(map[string]any)
	for key, value := range content {
		below, _ := merged[key].(map[string]any)
		switch value.(type) {
		case nil:
			delete(merged, key)
		case map[string]any:
			merged[key] = plainMerge(below, value)
		default:
			merged[key] = value
		}
	}
	return merged
}

func withoutMetadata(section any) any {
	content, isObject := section.(map[string]any)
	if !isObject {
		return map[string]any{}
	}
	content = maps.Clone(content)
	delete(content, "$metadata")
	delete(content, "$version")
	return content
}

// mirrors checks that metadata has the shape of what it describes.
func mirrors(t *testing.T, metadata, content map[string]any) {
	t.Helper()
	if _, stamped := metadata["$lastUpdated"].(string); !stamped {
		t.Fatalf("no $lastUpdated in %v", metadata)
	}
	described := slices.DeleteFunc(slices.Sorted(maps.Keys(metadata)), func(name string) bool {
		return name == "$lastUpdated" || name == "$lastUpdatedVersion"
	})
	if !slices.Equal(described, slices.Sorted(maps.Keys(content))) {
		t.Fatalf("metadata %v of %v", metadata, content)
	}
	for key, value := range content {
		below, _ := value.(map[string]any) // anything else is a leaf
		mirrors(t, metadata[key].(map[string]any), below)
	}
}
