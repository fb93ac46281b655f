package conformance_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"text/tabwriter"

	"github.com/google/go-cmp/cmp"
)

// sdkMethod is a method of the packages, as surface.js lists them.
type sdkMethod struct {
	// ID is the package, the class and the method: "azure-iothub Twin#get"
	// belongs to an instance, "azure-iothub Registry.fromConnectionString" to the
	// class.
	ID string `json:"id"`
	// Internal methods can be called, but their documentation says @private.
	Internal bool `json:"internal"`
}

// uncalled returns why methods are not called by any suite. An id that ends in
// "#*" is about all methods of a class.
func uncalled() map[string]string {
	byReason := map[string][]string{
		"AMQP only": {
			"azure-iothub Client#open",
			"azure-iothub Client#close",
			"azure-iothub Client#send",
			"azure-iothub Client#getFeedbackReceiver",
			"azure-iothub Client#getFileNotificationReceiver",
			"azure-iothub Amqp#*",
			"azure-iothub AmqpWs#*",
		},
		"import and export jobs need a blob storage account": {
			"azure-iothub Registry#importDevicesFromBlob",
			"azure-iothub Registry#importDevicesFromBlobByIdentity",
			"azure-iothub Registry#exportDevicesToBlob",
			"azure-iothub Registry#exportDevicesToBlobByIdentity",
			"azure-iothub Registry#listJobs",
			"azure-iothub Registry#getJob",
			"azure-iothub Registry#cancelJob",
		},
		"uploads need a blob storage account": {
			"azure-iot-device Client#uploadToBlob",
			"azure-iot-device Client#getBlobSharedAccessSignature",
			"azure-iot-device Client#notifyBlobUploadStatus",
		},
	}
	reasons := map[string]string{}
	for reason, ids := range byReason {
		for _, id := range ids {
			reasons[id] = reason
		}
	}
	return reasons
}

// tableRow says which suites call a method, or why none does.
type tableRow struct {
	sdkMethod
	Suites []string
	Reason string
}

// methodTable brings together what the packages have, what the suites called
// and why the rest is not called. What does not fit is in the second result.
func methodTable(methods []sdkMethod, calls map[string][]string, reasons map[string]string) ([]tableRow, []string) {
	callers := map[string][]string{}
	for _, suite := range slices.Sorted(maps.Keys(calls)) {
		for _, id := range calls[suite] {
			callers[id] = append(callers[id], suite)
		}
	}
	var rows []tableRow
	var problems []string
	used := map[string]bool{}
	for _, method := range methods {
		row := tableRow{sdkMethod: method, Suites: callers[method.ID]}
		key := reasonKey(method.ID, reasons)
		row.Reason, used[key] = reasons[key], true
		switch {
		case len(row.Suites) == 0 && row.Reason == "":
			problems = append(problems, method.ID+" is called by no suite, and no reason is given")
		case len(row.Suites) > 0 && row.Reason != "":
			problems = append(problems, fmt.Sprintf("%s is called by %v, though %q", method.ID, row.Suites, row.Reason))
		}
		delete(callers, method.ID)
		rows = append(rows, row)
	}
	for id := range callers {
		problems = append(problems, id+" is called, but is no method of the packages")
	}
	for id := range reasons {
		if !used[id] {
			problems = append(problems, id+" has a reason, but is no method of the packages")
		}
	}
	slices.Sort(problems)
	return rows, problems
}

func reasonKey(id string, reasons map[string]string) string {
	class, _, isInstance := strings.Cut(id, "#")
	if _, ok := reasons[class+"#*"]; ok && isInstance {
		return class + "#*"
	}
	return id
}

// written lays the rows out in columns.
func written(rows []tableRow) string {
	var out strings.Builder
	table := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "METHOD\tCALLED BY")
	called := 0
	for _, row := range rows {
		id, by := row.ID, strings.Join(row.Suites, ", ")
		if row.Internal {
			id += " (internal)"
		}
		if len(row.Suites) > 0 {
			called++
		} else {
			by = "- " + row.Reason
		}
		fmt.Fprintf(table, "%s\t%s\n", id, by)
	}
	table.Flush() // to a strings.Builder: it cannot fail
	fmt.Fprintf(&out, "%d methods, %d of them called", len(rows), called)
	return out.String()
}

// checkMethods prints which suites call which methods of the packages, and
// fails the test if one is neither called nor has a reason.
func checkMethods(t *testing.T, methodsFile string, calls map[string][]string) {
	t.Helper()
	content, err := os.ReadFile(methodsFile)
	if err != nil {
		t.Fatal(err)
	}
	var methods []sdkMethod
	if err := json.Unmarshal(content, &methods); err != nil {
		t.Fatalf("the list of methods: %v", err)
	}
	rows, problems := methodTable(methods, calls, uncalled())
	t.Log("\n" + written(rows))
	for _, problem := range problems {
		t.Error(problem)
	}
}

func TestMethodTable(t *testing.T) {
	t.Parallel()
	methods := []sdkMethod{{ID: "sdk Client#open"}, {ID: "sdk Client#close"}, {ID: "sdk Client.fromString"}, {ID: "sdk Amqp#open"}}
	calls := map[string][]string{"b": {"sdk Client#open"}, "a": {"sdk Client#open", "sdk Client.fromString"}}
	cases := map[string]struct {
		calls   map[string][]string
		reasons map[string]string
		want    []string
	}{
		"every method is called or has a reason": {
			calls, map[string]string{"sdk Client#close": "no", "sdk Amqp#*": "AMQP"}, nil,
		},
		"a method that is not called": {
			calls, map[string]string{"sdk Amqp#*": "AMQP"},
			[]string{"sdk Client#close is called by no suite, and no reason is given"},
		},
		"a reason for what is called": {
			calls, map[string]string{"sdk Client#*": "no", "sdk Amqp#open": "AMQP"},
			[]string{`sdk Client#open is called by [a b], though "no"`},
		},
		"a reason for what does not exist": {
			calls, map[string]string{"sdk Client#close": "no", "sdk Amqp#open": "AMQP", "sdk Http#*": "HTTP", "sdk Client#Close": "no"},
			[]string{
				"sdk Client#Close has a reason, but is no method of the packages",
				"sdk Http#* has a reason, but is no method of the packages",
			},
		},
		"a call of what does not exist": {
			map[string][]string{"a": {"sdk Client#open", "sdk Client.fromString", "sdk Http#open"}},
			map[string]string{"sdk Client#close": "no", "sdk Amqp#*": "AMQP"},
			[]string{"sdk Http#open is called, but is no method of the packages"},
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			rows, problems := methodTable(methods, c.calls, c.reasons)
			if diff := cmp.Diff(c.want, problems); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
			if len(rows) != len(methods) {
				t.Errorf("got %d rows, want one for each of the %d methods", len(rows), len(methods))
			}
		})
	}
}

func TestWritten(t *testing.T) {
	t.Parallel()
	got := written([]tableRow{
		{sdkMethod: sdkMethod{ID: "sdk Client#open"}, Suites: []string{"a", "b"}},
		{sdkMethod: sdkMethod{ID: "sdk Amqp#connect", Internal: true}, Reason: "AMQP only"},
	})
	want := `METHOD                       CALLED BY
sdk Client#open              a, b
sdk Amqp#connect (internal)  - AMQP only
2 methods, 1 of them called`
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("table (-want +got):\n%s", diff)
	}
}
