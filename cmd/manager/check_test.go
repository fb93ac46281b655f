package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
	"time"

	. "github.com/onsi/gomega"
)

func TestWhatACheckIsTold(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	ca := filepath.Join(t.TempDir(), "ca.crt")
	g.Expect(os.WriteFile(ca, []byte("PEM"), 0o600)).To(Succeed())
	var errs bytes.Buffer
	opts, err := parseCheck([]string{
		"--namespace=plant", "--webhooks=validation", "--metrics-url=https://a/metrics", "--metrics-url=https://b/metrics",
		"--hub-secret=hub", "--hub-ca-file=" + ca, "--patience=5s",
	}, &errs)
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(opts.Namespace).To(Equal("plant"))
	g.Expect(opts.Webhooks).To(Equal("validation"))
	g.Expect(opts.MetricsURLs).To(Equal([]string{"https://a/metrics", "https://b/metrics"}))
	g.Expect(opts.HubSecret).To(Equal("hub"))
	g.Expect(string(opts.HubCA)).To(Equal("PEM"))
	g.Expect(opts.Patience).To(Equal(5 * time.Second))
	g.Expect(errs.String()).To(BeEmpty())
}

func TestWhatACheckRefuses(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"--namespace is required":                    nil,
		`"plant" is no flag`:                         {"--namespace=a", "plant"},
		"--patience: has to be longer than 0s":       {"--namespace=a", "--patience=0s"},
		"--hub-ca-file: open does-not-exist":         {"--namespace=a", "--hub-ca-file=does-not-exist"},
		"flag provided but not defined: -name-space": {"--name-space=a"},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			_, err := parseCheck(args, &bytes.Buffer{})
			NewWithT(t).Expect(err).To(MatchError(HavePrefix(want)))
		})
	}
}

func TestACheckIsExplained(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	var out, errs bytes.Buffer
	g.Expect(check(t.Context(), []string{"--help"}, &out, &errs)).To(Equal(0))
	g.Expect(errs.String()).To(And(ContainSubstring("-metrics-url"), ContainSubstring("-kubeconfig")))

	errs.Reset()
	g.Expect(check(t.Context(), []string{"--patient=1m"}, &out, &errs)).To(Equal(2))
	g.Expect(errs.String()).To(Equal("manager check: flag provided but not defined: -patient\n"))
	g.Expect(out.String()).To(BeEmpty())
}
