// Package spec_test applies every example of the pages in docs/spec to a real
// API server.
package spec_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

const pages = "../../docs/spec"

var suite struct{ env *testenv.Env }

func TestMain(m *testing.M) {
	os.Exit(testenv.Run(m, testenv.Options{}, func(env *testenv.Env) { suite.env = env }))
}

// block is an example of a page: a whole object, or its spec or status alone.
type block map[string]any

var fence = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

func blocksOf(t *testing.T, page string) []block {
	t.Helper()
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	var blocks []block
	for _, match := range fence.FindAllStringSubmatch(string(text), -1) {
		var b block
		if err := yaml.UnmarshalStrict([]byte(match[1]), &b); err != nil {
			t.Fatalf("%v in\n%s", err, match[1])
		}
		blocks = append(blocks, b)
	}
	return blocks
}

// TestEveryExampleIsAccepted: strict validation refuses what the schema does not
// know, so that a renamed field makes its page fail.
func TestEveryExampleIsAccepted(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob(pages + "/*.md")
	if err != nil || len(found) != 5 {
		t.Fatalf("%v, %v: want a page for each of the five kinds", found, err)
	}
	for _, page := range found {
		t.Run(filepath.Base(page), func(t *testing.T) {
			t.Parallel()
			blocks := blocksOf(t, page)
			whole := blocks[0]
			if whole["kind"] == nil {
				t.Fatal("a page begins with a whole object")
			}
			for i, b := range blocks {
				t.Run(fmt.Sprintf("%d", i), func(t *testing.T) {
					t.Parallel()
					accept(t, whole, b)
				})
			}
		})
	}
}

// accept creates an example in a namespace of its own. What is only a part of an
// object stands in for that part of the page's first one.
func accept(t *testing.T, whole, b block) {
	t.Helper()
	g := NewWithT(t)
	c, err := client.New(suite.env.Config(), client.Options{})
	g.Expect(err).NotTo(HaveOccurred())
	c = client.WithFieldValidation(c, "Strict")
	object := &unstructured.Unstructured{Object: merged(whole, b)}
	object.SetNamespace(testenv.Namespace(t, c, nil))
	wanted := object.DeepCopy()
	g.Expect(c.Create(t.Context(), object)).To(Succeed())
	status, ok := wanted.Object["status"]
	if !ok {
		return
	}
	object.Object["status"] = status
	g.Expect(c.Status().Update(t.Context(), object)).To(Succeed())
	want, err := json.Marshal(status)
	g.Expect(err).NotTo(HaveOccurred())
	got, err := json.Marshal(object.Object["status"])
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(got).To(MatchJSON(want), "the schema drops nothing of it")
}

func merged(whole, b block) map[string]any {
	if b["kind"] != nil {
		whole = b
	}
	out := (&unstructured.Unstructured{Object: whole}).DeepCopy().Object
	for _, part := range []string{"spec", "status"} {
		members, ok := b[part].(map[string]any)
		if !ok {
			continue
		}
		into, ok := out[part].(map[string]any)
		if !ok {
			into = map[string]any{}
			out[part] = into
		}
		maps.Copy(into, members)
	}
	return out
}

// TestEveryFieldHasItsPlace: each field of a spec is named in a heading or a text
// of its kind's page.
func TestEveryFieldHasItsPlace(t *testing.T) {
	t.Parallel()
	for kind, plural := range map[string]string{"devicetwin": "devicetwins", "devicetwinset": "devicetwinsets", "hubconnection": "hubconnections", "twinquery": "twinqueries", "twinrequest": "twinrequests"} {
		text, err := os.ReadFile(filepath.Join(pages, kind+".md"))
		if err != nil {
			t.Fatal(err)
		}
		headings := regexp.MustCompile(`(?m)^### (.*)$`).FindAllStringSubmatch(string(text), -1)
		var named []string
		for _, heading := range headings {
			named = append(named, strings.Split(heading[1], ", ")...)
		}
		for _, field := range specFields(t, plural) {
			if !slices.Contains(named, field) {
				t.Errorf("%s.md has no heading for spec.%s", kind, field)
			}
		}
	}
}

func specFields(t *testing.T, plural string) []string {
	t.Helper()
	text, err := os.ReadFile("../../config/crd/bases/iothub.devicetwin.io_" + plural + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd struct {
		Spec struct {
			Versions []struct {
				Schema struct {
					OpenAPIV3Schema struct {
						Properties struct {
							Spec struct{ Properties map[string]any }
						}
					}
				}
			}
		}
	}
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Keys(crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties.Spec.Properties))
}
