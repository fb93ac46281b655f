package conformance_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// sdkCase is one case as Node's test runner reports it in JUnit form.
type sdkCase struct {
	Name    string   `xml:"name,attr"`
	Failure *message `xml:"failure"`
	Error   *message `xml:"error"`
	Skipped *message `xml:"skipped"`
}

type message struct {
	Type string `xml:"type,attr"`
	Text string `xml:"message,attr"`
	Body string `xml:",chardata"`
}

func readReport(path string) ([]sdkCase, error) {
	content, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var report struct {
		Cases []sdkCase `xml:"testcase"`
	}
	if err := xml.Unmarshal(content, &report); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Base(path), err)
	}
	if len(report.Cases) == 0 {
		return nil, errors.New("the report holds no case")
	}
	return report.Cases, nil
}

// problem returns what went wrong in the case, or "".
func (c sdkCase) problem() string {
	for _, m := range []*message{c.Failure, c.Error} {
		if m != nil {
			return m.Text + "\n" + m.Body
		}
	}
	return ""
}

// reportCases makes every case a subtest and returns how many failed.
func reportCases(t *testing.T, cases []sdkCase) int {
	t.Helper()
	failed := 0
	for _, c := range cases {
		if c.problem() != "" {
			failed++
		}
		t.Run(c.Name, func(t *testing.T) {
			switch {
			case c.problem() != "":
				t.Error(c.problem())
			case c.Skipped != nil:
				t.Skipf("%s: %s", c.Skipped.Type, c.Skipped.Text)
			}
		})
	}
	return failed
}

func TestReadReport(t *testing.T) {
	t.Parallel()
	const report = `<?xml version="1.0" encoding="utf-8"?>
<testsuites>
	<testcase name="a" time="0.1" classname="test"/>
	<testcase name="b" time="0.1" classname="test" failure="1 !== 2">
		<failure type="testCodeFailure" message="1 !== 2">at line 3</failure>
	</testcase>
	<testcase name="c" time="0.1" classname="test"><skipped type="skipped" message="no network"/></testcase>
</testsuites>`
	path := filepath.Join(t.TempDir(), "junit.xml")
	if err := os.WriteFile(path, []byte(report), 0o600); err != nil {
		t.Fatal(err)
	}
	cases, err := readReport(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) != 3 {
		t.Fatalf("got %d cases, want 3", len(cases))
	}
	if cases[0].problem() != "" || cases[2].problem() != "" {
		t.Errorf("passed and skipped cases have a problem: %+v", cases)
	}
	if !strings.Contains(cases[1].problem(), "1 !== 2") || !strings.Contains(cases[1].problem(), "at line 3") {
		t.Errorf("the failure lost its text: %q", cases[1].problem())
	}
	if cases[2].Skipped == nil || cases[2].Skipped.Text != "no network" {
		t.Errorf("the skip lost its reason: %+v", cases[2])
	}
}

func TestReadReportRefusesAnEmptyOne(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "junit.xml")
	if err := os.WriteFile(path, []byte(`<testsuites></testsuites>`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := readReport(path); err == nil {
		t.Error("a report without cases was accepted")
	}
}
