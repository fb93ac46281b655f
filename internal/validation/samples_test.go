package validation_test

import (
	"bufio"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/validation/field"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// TestSamplesAreBeyondDoubt: what people copy from raises no error and no warning.
func TestSamplesAreBeyondDoubt(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	seen := map[string]int{}
	for _, pattern := range []string{"../../config/samples/*.yaml", "../../config/samples/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		g.Expect(err).NotTo(HaveOccurred())
		for _, file := range files {
			text, err := os.Open(file)
			g.Expect(err).NotTo(HaveOccurred())
			documents := utilyaml.NewYAMLReader(bufio.NewReader(text))
			for {
				document, err := documents.Read()
				if errors.Is(err, io.EOF) {
					break
				}
				g.Expect(err).NotTo(HaveOccurred())
				kind, errs, doubts := judge(g, document)
				seen[kind]++
				g.Expect(errs).To(BeEmpty(), file)
				g.Expect(doubts).To(BeEmpty(), file)
			}
			g.Expect(text.Close()).To(Succeed())
		}
	}
	for _, kind := range []string{"DeviceTwin", "TwinQuery", "HubConnection"} {
		g.Expect(seen[kind]).To(BeNumerically(">=", 2), kind)
	}
	g.Expect(seen).To(HaveKeyWithValue("DeviceTwinSet", BeNumerically(">=", 1)))
}

func judge(g *WithT, document []byte) (kind string, errs field.ErrorList, doubts []string) {
	var meta metav1.TypeMeta
	g.Expect(yaml.Unmarshal(document, &meta)).To(Succeed())
	switch meta.Kind {
	case "DeviceTwin":
		var obj v1alpha1.DeviceTwin
		g.Expect(yaml.UnmarshalStrict(document, &obj)).To(Succeed())
		declared, invalid := validation.DeviceTwin(&obj)
		if errs = invalid; len(errs) == 0 {
			doubts = validation.DeviceTwinDoubts(declared)
		}
	case "DeviceTwinSet":
		var obj v1alpha1.DeviceTwinSet
		g.Expect(yaml.UnmarshalStrict(document, &obj)).To(Succeed())
		declared, invalid := validation.DeviceTwinSet(&obj)
		if errs = invalid; len(errs) == 0 {
			doubts = validation.DeviceTwinSetDoubts(declared)
		}
	case "TwinQuery":
		var obj v1alpha1.TwinQuery
		g.Expect(yaml.UnmarshalStrict(document, &obj)).To(Succeed())
		condition, invalid := validation.TwinQuery(&obj)
		if errs = invalid; len(errs) == 0 {
			doubts = validation.TwinQueryDoubts(&obj, condition)
		}
	case "TwinRequest":
		var obj v1alpha1.TwinRequest
		g.Expect(yaml.UnmarshalStrict(document, &obj)).To(Succeed())
		errs, doubts = validation.TwinRequest(&obj), validation.TwinRequestDoubts(&obj)
	case "HubConnection":
		var obj v1alpha1.HubConnection
		g.Expect(yaml.UnmarshalStrict(document, &obj)).To(Succeed())
		errs, doubts = validation.HubConnection(&obj), validation.HubConnectionDoubts(&obj)
	}
	return meta.Kind, errs, doubts
}
