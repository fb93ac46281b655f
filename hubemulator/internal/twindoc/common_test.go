package twindoc

import (
	"encoding/json"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	. "github.com/onsi/gomega"
)

func TestCommonValuesKeepTypeAndText(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	shared := NewCommon()
	// More of them than there are slots, and each text as two types.
	for range 2 {
		for i := range 2 * commonSlots {
			text := strconv.Itoa(i)
			g.Expect(shared.share(text)).To(Equal(text))
			g.Expect(shared.share(json.Number(text))).To(Equal(json.Number(text)))
		}
	}
	for _, other := range []any{true, strings.Repeat("long", maxCommon), []any{"a"}} {
		g.Expect(shared.share(other)).To(BeEquivalentTo(other))
	}
}

func TestCommonValuesAreShared(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	shared := NewCommon()
	where := func() *byte {
		text, _ := shared.share(strings.Clone("celsius")).(string)
		return unsafe.StringData(text)
	}
	g.Expect(where()).To(BeIdenticalTo(where()))
}
