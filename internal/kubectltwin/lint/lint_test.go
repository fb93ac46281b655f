package lint_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/cluster"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/lint"
)

const good = `apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwin
metadata:
  name: thermostat-1
spec:
  hubRef: {name: hub}
  deviceId: thermostat-1
  tags: {location: {plant: Redmond43}}
`

const set = `apiVersion: iothub.devicetwin.io/v1alpha1
kind: DeviceTwinSet
metadata: {name: s}
spec:
  hubRef: {name: h}
  selector: {where: tags.kind = 'press'}
  maxDevices: 10
  template: {tags: {ring: stable}}
  rollout:
    waves: [{name: a, percent: 10}]
`

// found are the findings of a text, one in each line.
func found(t *testing.T, text string) string {
	t.Helper()
	linter, err := lint.New()
	if err != nil {
		t.Fatal(err)
	}
	findings, _ := linter.File(t.Context(), "f.yaml", []byte(text))
	var lines []string
	for _, f := range findings {
		lines = append(lines, f.String())
	}
	return strings.Join(lines, "\n")
}

func TestFindings(t *testing.T) {
	t.Parallel()
	replaced := func(old, replacement string) string {
		if !strings.Contains(good, old) {
			t.Fatal(old)
		}
		return strings.Replace(good, old, replacement, 1)
	}
	for name, tt := range map[string]struct{ text, want string }{
		"nothing":       {good, ""},
		"other kinds":   {"apiVersion: v1\nkind: Pod\nspec: {nonsense: 1, nonsense: 2}\n", ""},
		"comments":      {"# nothing\n---\n# here\n", ""},
		"unknown field": {replaced("  deviceId:", "  devicelD: x\n  deviceId:"), `f.yaml:7:3: error: DeviceTwin/thermostat-1: spec.devicelD: unknown field`},
		"unknown metadata": {
			replaced("  name: t", "  lables: {a: b}\n  name: t"), `f.yaml:4:3: error: DeviceTwin/thermostat-1: metadata.lables: unknown field`,
		},
		"duplicate key":    {good + "  deviceId: thermostat-2\n", `f.yaml:9:3: error: spec.deviceId: the key is in line 7 already`},
		"duplicate tag":    {replaced("plant: Redmond43", "plant: a, plant: b"), `f.yaml:8:31: error: spec.tags.location.plant: the key is in line 8 already`},
		"missing":          {replaced("  deviceId: thermostat-1\n", ""), `f.yaml:5:1: error: DeviceTwin/thermostat-1: spec.deviceId: Required value`},
		"pattern":          {replaced("deviceId: thermostat-1", "deviceId: thermostat 1"), `f.yaml:7:3: error: DeviceTwin/thermostat-1: spec.deviceId: Invalid value: "thermostat 1": spec.deviceId in body should match '^[A-Za-z0-9\-.+%_#*?!(),:;=@$']+$'`},
		"type":             {replaced("deviceId: thermostat-1", "deviceId: 7"), `f.yaml:7:3: error: DeviceTwin/thermostat-1: spec.deviceId: Invalid value: "integer": spec.deviceId in body must be of type string: "integer"`},
		"enum":             {good + "  policy: Force\n", `f.yaml:9:3: error: DeviceTwin/thermostat-1: spec.policy: Unsupported value: "Force": supported values: "Enforce", "Yield", "Initialize", "Observe"`},
		"CEL":              {good + "  connectionSecretName: keys\n", `f.yaml:5:1: error: DeviceTwin/thermostat-1: spec: Invalid value: connectionSecretName and authentication go with registration: Create`},
		"name":             {replaced("name: thermostat-1", "name: Thermostat_1"), `f.yaml:4:3: error: DeviceTwin/Thermostat_1: metadata.name: Invalid value: "Thermostat_1": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`},
		"label":            {replaced("  name: t", "  labels: {line: a b}\n  name: t"), `f.yaml:4:3: error: DeviceTwin/thermostat-1: metadata.labels: Invalid value: "a b": a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is '(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')`},
		"duplicate item":   {good + "  policies:\n  - {path: tags, policy: Yield}\n  - {path: tags, policy: Observe}\n", `f.yaml:11:5: error: DeviceTwin/thermostat-1: spec.policies[1]: Duplicate value: {"path":"tags"}`},
		"tag key":          {replaced("plant:", `"pl.ant":`), `f.yaml:8:21: error: DeviceTwin/thermostat-1: spec.tags.location["pl.ant"]: Invalid value: `},
		"policy path":      {good + "  policies:\n  - {path: tags.nowhere, policy: Yield}\n", `f.yaml:10:6: warning: DeviceTwin/thermostat-1: spec.policies[0].path: nothing is declared at or below it`},
		"no version":       {replaced("/v1alpha1", "/v1"), `f.yaml:1:1: error: DeviceTwin/thermostat-1: apiVersion: there is no version v1 of it: use iothub.devicetwin.io/v1alpha1`},
		"no kind":          {replaced("DeviceTwin", "DeviceTwins"), `f.yaml:2:1: error: DeviceTwins/thermostat-1: kind: there is no kind DeviceTwins in iothub.devicetwin.io`},
		"no YAML":          {"---\n" + good + "---\na: [1\nb: }\n", `f.yaml:11:1: error: no YAML: did not find expected ',' or ']'`},
		"second":           {good + "---\n" + replaced("  deviceId: thermostat-1\n", ""), `f.yaml:14:1: error: DeviceTwin/thermostat-1: spec.deviceId: Required value`},
		"list":             {"apiVersion: v1\nkind: List\nitems:\n- apiVersion: iothub.devicetwin.io/v1alpha1\n  kind: DeviceTwin\n  metadata: {name: a}\n  spec: {hubRef: {name: h}}\n", `f.yaml:7:3: error: DeviceTwin/a: spec.deviceId: Required value`},
		"query":            {"apiVersion: iothub.devicetwin.io/v1alpha1\nkind: TwinQuery\nmetadata: {name: q}\nspec:\n  hubRef: {name: h}\n  where: tags.a = \n", `f.yaml:6:3: error: TwinQuery/q: spec.where: Invalid value: `},
		"set":              {set, ""},
		"set's waves":      {strings.Replace(set, "percent: 10", "percent: 101", 1), `f.yaml:10:23: error: DeviceTwinSet/s: spec.rollout.waves[0].percent: Invalid value: 101: spec.rollout.waves[0].percent in body should be less than or equal to 100`},
		"set's sum":        {strings.Replace(set, "percent: 10", "percent: 10}, {name: b, percent: 91", 1), `f.yaml:10:5: error: DeviceTwinSet/s: spec.rollout.waves: Invalid value: the percentages of waves are more than 100 together; what is left is the wave rest`},
		"set's name":       {strings.Replace(set, "name: s}", "name: s.1}", 1), `f.yaml:3:1: error: DeviceTwinSet/s.1: metadata: Invalid value: metadata.name must be a DNS label, at most 63 characters of a-z, 0-9 and -: it stands in the twins`},
		"set's selector":   {strings.Replace(set, "tags.kind = 'press'", "tags.ring = 'stable'", 1), `f.yaml:6:14: error: DeviceTwinSet/s: spec.selector.where: Invalid value: reads tags.ring, and the set writes tags.ring: a device would be selected by what is written to it; select by something that the set does not write`},
		"set's doubt":      {strings.Replace(set, "tags.kind = 'press'", "tag.kind = 'press'", 1), `f.yaml:6:14: warning: DeviceTwinSet/s: spec.selector.where: tag.kind is in no twin: there is no tag at its root; tags are under tags, properties under properties.desired and properties.reported`},
		"hub":              {"apiVersion: iothub.devicetwin.io/v1alpha1\nkind: HubConnection\nmetadata: {name: q}\nspec:\n  auth: {}\n", `f.yaml:5:3: error: HubConnection/q: spec.auth: Invalid value: exactly one of connectionStringSecretRef and workloadIdentity is required`},
		"pasted key":       {good + "  registration: Create\n  connectionSecretName: HostName=h;SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTIz\n", `f.yaml:10:3: error: DeviceTwin/thermostat-1: spec.connectionSecretName: Invalid value: `},
		"pasted elsewhere": {replaced("deviceId: thermostat-1", "deviceId: HostName=h SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTIz"), `f.yaml:7:3: error: DeviceTwin/thermostat-1: spec.deviceId: Invalid value: `},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			g := NewWithT(t)
			got := found(t, tt.text)
			if strings.HasSuffix(tt.want, "Invalid value: ") { // the rule is worded elsewhere
				g.Expect(got).To(HavePrefix(tt.want))
				g.Expect(got).NotTo(Or(ContainSubstring("\n"), ContainSubstring("c2VjcmV0")))
				return
			}
			g.Expect(got).To(Equal(strings.ReplaceAll(tt.want, "  ", " ")))
		})
	}
}

// run runs the command, with a text on standard input.
func run(t *testing.T, in string, args ...string) (out, errOut string, code int) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	access := cluster.New(genericiooptions.IOStreams{In: strings.NewReader(in), Out: &stdout, ErrOut: &stderr})
	cmd := lint.NewCommand(access)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	err := cmd.ExecuteContext(t.Context())
	if err != nil {
		fmt.Fprintln(&stderr, err)
	}
	return stdout.String(), stderr.String(), cluster.ExitCode(err)
}

func TestCommand(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		g.Expect(os.MkdirAll(filepath.Dir(path), 0o755)).To(Succeed())
		g.Expect(os.WriteFile(path, []byte(text), 0o600)).To(Succeed())
		return path
	}
	bad := strings.Replace(good, "tags:", "tagz:", 1)
	doubtful := good + "  policies: [{path: tags.nowhere, policy: Yield}]\n"
	write("good.yaml", good)
	write("notes.txt", "a: [")
	deep := write("below/bad file.yml", bad)
	warned := write("warned/w.yaml", doubtful)
	for _, tt := range []struct {
		in, args string
		code     int
		says     string
	}{
		{"", "-f " + dir, 0, "1 manifest in 1 file: 0 errors, 0 warnings\n"},
		{"", "-R -f " + dir, 1, "3 manifests in 3 files: 1 error, 1 warning\n"},
		{good, "-f -", 0, "1 manifest in 1 file"},
		{bad, "-f -", 1, "1 error"},
		{"", "-f " + warned, 0, "1 warning"},
		{"", "--strict -f " + warned, 1, "1 warning"},
		{"", "-f " + dir + "/missing.yaml", 2, "missing.yaml: no such file or directory"},
		{"", "-f " + t.TempDir(), 2, "there is no .yaml, .yml or .json file"},
		{"", "", 2, "which manifests?"},
		{"", "-o xml -f -", 2, "should be one of text, json, sarif"},
	} {
		_, errOut, code := run(t, tt.in, strings.Fields(tt.args)...)
		g.Expect(code).To(Equal(tt.code), tt.args+errOut)
		g.Expect(errOut).To(ContainSubstring(tt.says), tt.args)
	}

	out, _, _ := run(t, "", "-f", deep)
	g.Expect(out).To(Equal(deep + ":8:3: error: DeviceTwin/thermostat-1: spec.tagz: unknown field\n"))
	out, _, _ = run(t, "", "-f", deep, "-o", "json")
	var printed struct{ Findings []lint.Finding }
	g.Expect(json.Unmarshal([]byte(out), &printed)).To(Succeed())
	g.Expect(printed.Findings).To(ConsistOf(lint.Finding{
		File: deep, Line: 8, Column: 3, Severity: lint.Error, Rule: lint.RuleUnknownField, Object: "DeviceTwin/thermostat-1", Message: "spec.tagz: unknown field",
	}))
	out, _, _ = run(t, "", "-f", deep, "-o", "sarif")
	g.Expect(out).To(And(ContainSubstring(`"uri": "`+strings.ReplaceAll(deep, " ", "%20")+`"`), ContainSubstring(`"startLine": 8`),
		ContainSubstring(`"ruleId": "unknown-field"`), ContainSubstring(`"level": "error"`)))
	out, _, code := run(t, good, "-f", "-", "-o", "sarif")
	g.Expect(code).To(Equal(0))
	g.Expect(out).To(ContainSubstring(`"results": []`))
}

// TestManyManifests in less than ten seconds, on a machine that does nothing else.
func TestManyManifests(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	dir := t.TempDir()
	const files, each = 100, 100
	for i := range files {
		var text strings.Builder
		for j := range each {
			fmt.Fprintf(&text, "---\n%s", strings.ReplaceAll(good, "thermostat-1", fmt.Sprintf("thermostat-%d-%d", i, j)))
		}
		g.Expect(os.WriteFile(filepath.Join(dir, fmt.Sprintf("%d.yaml", i)), []byte(text.String()), 0o600)).To(Succeed())
	}
	began := time.Now()
	_, errOut, code := run(t, "", "-f", dir)
	took := time.Since(began)
	g.Expect(errOut).To(HaveSuffix("10000 manifests in 100 files: 0 errors, 0 warnings\n"))
	g.Expect(code).To(Equal(0))
	t.Logf("%d manifests took %s", files*each, took)
}
