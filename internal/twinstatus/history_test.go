package twinstatus_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/twin"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinstatus"
)

func TestEntryTellsValues(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		held, patch map[string]any
		want        string
	}{
		"written":  {nil, map[string]any{"a": json.Number("1.50")}, `{"path":"desired.a","after":1.5}`},
		"replaced": {map[string]any{"a": "x"}, map[string]any{"a": []any{"y"}}, `{"path":"desired.a","before":"x","after":["y"]}`},
		"deleted":  {map[string]any{"o": map[string]any{"a": true}}, map[string]any{"o": nil}, `{"path":"desired.o.a","before":true}`},
		"named like a credential": {
			map[string]any{"wifi": map[string]any{"pwd": "hunter2"}}, map[string]any{"wifi": map[string]any{"pwd": nil}},
			`{"path":"desired.wifi.pwd","before":"a value that looks like a credential","withheld":"Hidden"}`,
		},
		"looks like one": {
			map[string]any{"a": "plain"}, map[string]any{"a": "Password=hunter2"},
			`{"path":"desired.a","before":"a value that looks like a credential","after":"a value that looks like a credential","withheld":"Hidden"}`,
		},
		"too long": {
			map[string]any{"a": 1}, map[string]any{"a": strings.Repeat("x", 600)},
			`{"path":"desired.a","before":1,"after":"\"` + strings.Repeat("x", 505) + `…","withheld":"Cut"}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			entry := twinstatus.Entry(twinstatus.Written{Held: twin.Document{Desired: tt.held}, Patch: twin.Document{Desired: tt.patch}})
			g.Expect(entry.Changes).To(HaveLen(1))
			g.Expect(entry.Omitted).To(BeZero())
			text, err := json.Marshal(entry.Changes[0])
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(len(text)).To(BeNumerically("<", 2*512+128))
			g.Expect(string(text)).To(Equal(tt.want))
		})
	}
}

// TestACutValueFits also where each character of it takes several.
func TestACutValueFits(t *testing.T) {
	t.Parallel()
	for _, text := range []string{`"`, `\`, "\x01", "ß", "漢", "🙂", "<"} {
		g := NewWithT(t)
		entry := twinstatus.Entry(twinstatus.Written{Patch: twin.Document{Tags: map[string]any{"a": strings.Repeat(text, 700)}}})
		g.Expect(entry.Changes).To(HaveLen(1))
		after := entry.Changes[0].After.Raw
		g.Expect(len(after)).To(And(BeNumerically("<=", 512), BeNumerically(">", 450)), text)
		g.Expect(json.Valid(after)).To(BeTrue())
		g.Expect(string(after)).To(HaveSuffix(`…"`))
	}
}

func TestEntryIsBounded(t *testing.T) {
	t.Parallel()
	many, large := map[string]any{}, map[string]any{"k" + strings.Repeat("e", 600): 1}
	for i := range 40 {
		many[fmt.Sprintf("k%02d", i)] = i
		large[fmt.Sprintf("v%02d", i)] = strings.Repeat("x", 400)
	}
	for name, tt := range map[string]struct {
		tags          map[string]any
		told, omitted int
	}{
		"many leaves":  {many, 32, 8},
		"large leaves": {large, 9, 32},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			entry := twinstatus.Entry(twinstatus.Written{Patch: twin.Document{Tags: tt.tags}})
			text, err := json.Marshal(entry.Changes)
			g.Expect(err).NotTo(HaveOccurred())
			g.Expect(len(text)).To(BeNumerically("<=", 4096+len("[]")))
			g.Expect(entry.Changes).To(HaveLen(tt.told))
			g.Expect(entry.Omitted).To(BeEquivalentTo(tt.omitted))
		})
	}
}

func TestHistoryIsNewestFirstAndTellsOnce(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	write := func(n int64) v1alpha1.TwinWrite {
		return v1alpha1.TwinWrite{Generation: n, ETagBefore: fmt.Sprint(n), ETagAfter: fmt.Sprint(n + 1), Time: metav1.NewTime(time.Unix(n, 0))}
	}
	generations := func(history []v1alpha1.TwinWrite) (out []int64) {
		for _, entry := range history {
			out = append(out, entry.Generation)
		}
		return out
	}
	history := twinstatus.History(nil, []v1alpha1.TwinWrite{write(1), write(2)})
	g.Expect(generations(history)).To(Equal([]int64{2, 1}))
	history = twinstatus.History(history, []v1alpha1.TwinWrite{write(2), write(3)})
	g.Expect(generations(history)).To(Equal([]int64{3, 2, 1}))
	for n := int64(4); n <= 13; n++ {
		history = twinstatus.History(history, []v1alpha1.TwinWrite{write(n)})
	}
	g.Expect(generations(history)).To(Equal([]int64{13, 12, 11, 10, 9, 8, 7, 6, 5, 4}))
}

func TestLastEditor(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	at := func(seconds int64) *metav1.Time { return &metav1.Time{Time: time.Unix(seconds, 0)} }
	fields := metav1.NewFieldsV1
	managed := []metav1.ManagedFieldsEntry{
		{Manager: "argocd", Time: at(20), FieldsV1: fields(`{"f:spec":{"f:tags":{}}}`)},
		{Manager: "kubectl-edit", Time: at(30), FieldsV1: fields(`{"f:spec":{"f:tags":{}}}`)},
		{Manager: "kubectl-annotate", Time: at(40), FieldsV1: fields(`{"f:metadata":{}}`)},
		{Manager: "manager", Time: at(50), Subresource: "status", FieldsV1: fields(`{"f:status":{}}`)},
		{Manager: "odd", FieldsV1: fields(`{"f:spec":{}}`)},
	}
	g.Expect(twinstatus.LastEditor(managed)).To(Equal("kubectl-edit"))
	g.Expect(twinstatus.LastEditor(managed[:1])).To(Equal("argocd"))
	g.Expect(twinstatus.LastEditor(nil)).To(BeEmpty())
}
