package service

import "net/http"

// billing is what of a call the hub bills.
type billing int

const (
	_ billing = iota // each route has to say
	free
	// billRequest is for what a call brings, and billAnswer for what it returns.
	billRequest
	billAnswer
	billBoth
	// billRows is billAnswer, unless the rows are what jobs did to devices: only
	// the query tells, so that what runs it looks after the quota.
	billRows
	// billMessage is for a device's message, if there is one; the quota does not
	// keep a device from asking.
	billMessage
)

// needsQuota reports whether calls are refused once the quota is used up.
func (b billing) needsQuota() bool { return b == billRequest || b == billAnswer || b == billBoth }

// payloads are the sizes of what the hub bills a call for.
func (c call) payloads(result answer) []int {
	switch c.route.billing {
	case billRequest:
		return []int{len(c.body)}
	case billAnswer:
		return []int{len(result.text)}
	case billBoth:
		return []int{len(c.body), len(result.text)}
	case billRows:
		if result.header["x-ms-item-type"] != itemDeviceJob {
			return []int{len(result.text)}
		}
	case billMessage:
		if result.status == http.StatusOK {
			return []int{len(result.text)}
		}
	case free:
	}
	return nil
}

// rejectedPayload is what is billed of a refused call by those who bill it:
// what it brought, since it returned nothing.
func (c call) rejectedPayload() []int {
	sizes := c.payloads(answer{})
	return sizes[:min(1, len(sizes))]
}

func (h *handler) bill(c call, sizes []int) {
	if len(sizes) > 0 {
		h.Counters.Bill(c.route.name, h.Limits.Bill(sizes...))
	}
}
