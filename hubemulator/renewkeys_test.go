package hubemulator_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
)

const renewPath = "/devices/keys/regenerate"

func (h *hub) keysOf(t *testing.T, path string) [2]any {
	t.Helper()
	keys := at(h.ok(t, http.MethodGet, path, ""), "authentication", "symmetricKey").(object)
	return [2]any{keys["primaryKey"], keys["secondaryKey"]}
}

func TestRenewKeys(t *testing.T) {
	t.Parallel()
	h := startHub(t, "d1", "d2")
	h.ok(t, http.MethodPut, "/devices/d1/modules/m1", `{}`)
	for _, path := range []string{"/devices/d1", "/devices/d1/modules/m1"} {
		g, before := NewWithT(t), h.keysOf(t, path)
		id := object{"id": "d1"}
		if strings.HasSuffix(path, "m1") {
			id["moduleId"] = "m1"
		}
		renew := func(key string) [2]any {
			etag := h.ok(t, http.MethodGet, path, "")["etag"]
			result := h.ok(t, http.MethodPost, renewPath, encode(t, object{"policyKey": key, "devices": []object{id}}))
			now := h.keysOf(t, path)
			want := object{"id": "d1", "primaryKey": now[0], "secondaryKey": now[1]}
			for name, value := range id {
				want[name] = value
			}
			g.Expect(result).To(Equal(object{"policyKey": key, "errors": []any{}, "rotatedKeys": []any{want}}))
			g.Expect(h.ok(t, http.MethodGet, path, "")["etag"]).NotTo(Equal(etag))
			return now
		}
		first := renew("primaryKey")
		g.Expect(first[0]).NotTo(Equal(before[0]))
		g.Expect(first[1]).To(Equal(before[1]))
		second := renew("secondaryKey")
		g.Expect(second[0]).To(Equal(first[0]))
		g.Expect(second[1]).NotTo(Equal(first[1]))
		g.Expect(renew("swap")).To(Equal([2]any{second[1], second[0]}))
	}
}

func TestRenewedKeyEndsTheConnection(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t, "d1")
	d := h.connect(t, "d1", "TCP")
	h.ok(t, http.MethodPost, renewPath, `{"policyKey":"secondaryKey","devices":[{"id":"d1"}]}`)
	h.ok(t, http.MethodPost, renewPath, `{"policyKey":"primaryKey","devices":[{"id":"d1"}]}`)
	g.Eventually(d.lost, patience).Should(Receive())
}

func TestRefusedRenewals(t *testing.T) {
	t.Parallel()
	g, h := NewWithT(t), startHub(t, "d1")
	h.ok(t, http.MethodPut, "/devices/ca", `{"authentication":{"type":"certificateAuthority"}}`)
	result := h.ok(t, http.MethodPost, renewPath, `{"policyKey":"primaryKey","devices":[{"id":"absent"},{"id":"d1","moduleId":"none"},{"id":"ca"},{"id":"d1"}]}`)
	g.Expect(result["rotatedKeys"]).To(HaveLen(1))
	var numbers []any
	for _, fault := range result["errors"].([]any) {
		numbers = append(numbers, fault.(object)["errorCode"])
	}
	g.Expect(numbers).To(Equal([]any{jsonNumber("404001"), jsonNumber("404010"), jsonNumber("400004")}))

	many := strings.Join(strings.Split(strings.Repeat(`{"id":"d1"} `, 101), " ")[:101], ",")
	for body, status := range map[string]int{
		`{"policyKey":"both","devices":[]}`: http.StatusBadRequest,
		`{"devices":[{"id":"d1"}]}`:         http.StatusBadRequest,
		`[]`:                                http.StatusBadRequest,
		fmt.Sprintf(`{"policyKey":"primaryKey","devices":[%s]}`, many): http.StatusRequestEntityTooLarge,
	} {
		g.Expect(h.call(t, http.MethodPost, renewPath, body).status).To(Equal(status), body)
	}
}
