package audit

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const managerUser = "system:serviceaccount:devicetwin-system:manager"

// auditLine is an event as the API server logs it at level Metadata.
func auditLine(user, verb, group, resource, subresource string) string {
	return fmt.Sprintf(`{"kind":"Event","apiVersion":"audit.k8s.io/v1","level":"Metadata","auditID":"1","stage":"ResponseComplete",`+
		`"requestURI":"/apis","verb":%q,"user":{"username":%q,"groups":["system:authenticated"]},`+
		`"objectRef":{"resource":%q,"namespace":"default","name":"thermostat-1","apiGroup":%q,"subresource":%q},`+
		`"responseStatus":{"metadata":{},"code":200}}`+"\n", verb, user, resource, group, subresource)
}

func TestWritesBy(t *testing.T) {
	t.Parallel()
	const group = "iothub.devicetwin.io"
	for name, test := range map[string]struct {
		line string
		want string
	}{
		"a status":            {auditLine(managerUser, "patch", group, "devicetwins", "status"), "patch devicetwins/status default/thermostat-1 (200)"},
		"an annotation":       {auditLine(managerUser, "patch", group, "devicetwins", ""), "patch devicetwins default/thermostat-1 (200)"},
		"an event":            {auditLine(managerUser, "create", "events.k8s.io", "events", ""), "create events default/thermostat-1 (200)"},
		"a lease":             {auditLine(managerUser, "update", "coordination.k8s.io", "leases", ""), ""},
		"a namesake of lease": {auditLine(managerUser, "update", group, "leases", ""), "update leases default/thermostat-1 (200)"},
		"a read":              {auditLine(managerUser, "get", group, "devicetwins", ""), ""},
		"another user":        {auditLine("demo-admin", "patch", group, "devicetwins", ""), ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			writes, read, err := writesBy(managerUser, strings.NewReader(test.line))
			if err != nil {
				t.Fatal(err)
			}
			if read != int64(len(test.line)) {
				t.Errorf("read %d of %d bytes", read, len(test.line))
			}
			var got []string
			for _, write := range writes {
				got = append(got, write.String())
			}
			if strings.Join(got, ";") != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWritesByRefusesGarbage(t *testing.T) {
	t.Parallel()
	if _, _, err := writesBy(managerUser, strings.NewReader("not json\n")); err == nil {
		t.Error("a line that is not JSON passed for a log without writes")
	}
}

// The log is read while it is written: a line may be there in part.
func TestAuditTrailGoesOnWhereItStopped(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "audit.log")
	line := auditLine(managerUser, "patch", "iothub.devicetwin.io", "devicetwins", "status")
	trail := &Trail{Path: path, User: managerUser}
	grow := func(text string) int {
		t.Helper()
		file, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(text); err != nil {
			t.Fatal(err)
		}
		if err := file.Close(); err != nil {
			t.Fatal(err)
		}
		writes, err := trail.Next()
		if err != nil {
			t.Fatal(err)
		}
		return len(writes)
	}
	if got := grow(line + line[:20]); got != 1 {
		t.Errorf("one line and a part: got %d writes, want 1", got)
	}
	if got := grow(line[20:]); got != 1 {
		t.Errorf("the rest of the line: got %d writes, want 1", got)
	}
	if got := grow(""); got != 0 {
		t.Errorf("nothing new: got %d writes, want 0", got)
	}
}
