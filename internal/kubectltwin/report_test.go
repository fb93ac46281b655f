package kubectltwin_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
)

// The credentials that are planted. Each is found by another rule, or must never be read.
const (
	plantedKey      = "c2VjcmV0c2VjcmV0c2VjcmV0c2VjcmV0MTIzNDU2Nzg5MA=="
	plantedPassword = "hunter2"
	plantedToken    = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N"
	plantedString   = "HostName=factory.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=" + plantedKey
)

// logs has the API server answer with a log of Pods, which takes a node otherwise.
func (w *world) logs(text string) {
	w.Helper()
	w.proxied(func(out http.ResponseWriter, request *http.Request) bool {
		if !strings.HasSuffix(request.URL.Path, "/log") {
			return false
		}
		fmt.Fprint(out, text)
		return true
	})
}

// unpacked are the files of an archive.
func unpacked(t *testing.T, archive []byte) map[string]string {
	t.Helper()
	g := NewWithT(t)
	plain, err := gzip.NewReader(bytes.NewReader(archive))
	g.Expect(err).NotTo(HaveOccurred())
	files := map[string]string{}
	for reader := tar.NewReader(plain); ; {
		header, err := reader.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		g.Expect(err).NotTo(HaveOccurred())
		content, err := io.ReadAll(reader)
		g.Expect(err).NotTo(HaveOccurred())
		_, name, _ := strings.Cut(header.Name, "/")
		files[name] = string(content)
	}
}

// plant puts credentials wherever a user or a device may put one.
func (w *world) plant() {
	w.Helper()
	conn := w.factory()
	w.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{Name: "hub-secret"}, StringData: map[string]string{"connectionString": plantedString}})
	obj := twin("careless")
	obj.Annotations = map[string]string{
		"kubectl.kubernetes.io/last-applied-configuration": `{"spec":{"tags":{"wifi":{"pwd":"` + plantedPassword + `"}}}}`,
		"example.com/note": "Authorization: Bearer " + plantedToken,
	}
	obj.Spec.Tags = raw(`{"plant":"Redmond43","wifi":{"pwd":"` + plantedPassword + `"},"list":["` + plantedString + `"]}`)
	obj.Spec.Desired = raw(`{"endpoint":"https://user:` + plantedPassword + `@example.com","apiKey":"` + plantedKey + `"}`)
	w.create(obj)
	w.said(obj, v1alpha1.DeviceTwinStatus{
		Reported: raw(`{"uplink":"` + plantedString + `","fan":3}`), Plan: &v1alpha1.PlannedChange{Patch: raw(`{"tags":{"wifi":{"pwd":"` + plantedPassword + `"}}}`)},
		Conditions: failing(v1alpha1.ReasonHubError, "the hub said "+plantedString),
		History: []v1alpha1.TwinWrite{{Time: metav1.Now(), Cause: v1alpha1.WriteCauseEdit, ETagAfter: "AAAAAAAAAAI=", Changes: []v1alpha1.LeafChange{
			{Path: "tags.wifi.pwd", Before: raw(`"` + plantedPassword + `"`), After: raw(`["` + plantedPassword + `2"]`)},
			{Path: "desired.endpoint", After: raw(`"https://user:` + plantedPassword + `@example.com"`)},
			{Path: "desired.fan", Before: raw(`41`), After: raw(`{"apiKey":"` + plantedKey + `"}`)},
		}}},
	})
	w.create(&eventsv1.Event{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "event-"}, EventTime: metav1.NewMicroTime(time.Now()), Type: "Warning", Reason: "HubError", Action: "Reconcile",
		Note: "password=" + plantedPassword, ReportingController: "test", ReportingInstance: "test",
		Regarding: corev1.ObjectReference{APIVersion: v1alpha1.SchemeGroupVersion.String(), Kind: "HubConnection", Namespace: w.ns, Name: conn.Name},
	})
}

func TestReportHoldsNoCredentials(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.plant()
	w.installed(1, time.Now())
	w.create(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: "manager-1", Labels: map[string]string{"app.kubernetes.io/name": "devicetwin-operator", "app.kubernetes.io/component": "manager"}},
		Spec: corev1.PodSpec{Containers: []corev1.Container{{
			Name: "manager", Image: "devicetwin-operator", Env: []corev1.EnvVar{{Name: "HTTPS_PROXY", Value: "http://user:" + plantedPassword + "@proxy"}},
		}}},
	})
	w.logs(`{"level":"info","msg":"reconciled","device":"d1"}
{"level":"error","msg":"the hub said ` + plantedString + `","device":"d2"}
{"level":"error","token":"` + plantedPassword + `"}
klog: Authorization: Bearer ` + plantedToken + `
panic: at ` + plantedKey + `
`)
	file := filepath.Join(w.TempDir(), "report.tar.gz")
	out := w.ok("report", "--manager-namespace", w.ns, "-f", file)
	w.Expect(out).To(HavePrefix(file + " holds "))
	info, err := os.Stat(file)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(info.Mode().Perm()).To(Equal(os.FileMode(0o600)))
	archive, err := os.ReadFile(file)
	w.Expect(err).NotTo(HaveOccurred())
	files := unpacked(t, archive)
	for name, content := range files {
		for _, planted := range []string{plantedKey, plantedPassword, plantedToken, "eyJhbGciOiJIUzI1NiJ9"} {
			w.Expect(content).NotTo(ContainSubstring(planted), name)
		}
	}
	in := "namespaces/" + w.ns + "/"
	w.Expect(files[in+"devicetwins.yaml"]).To(And(ContainSubstring("name: careless"), ContainSubstring("plant: Redmond43"), ContainSubstring("fan: 3"),
		ContainSubstring("pwd: a value that looks like a credential"), ContainSubstring("reason: HubError"),
		ContainSubstring("before: 41"), ContainSubstring("etagAfter: AAAAAAAAAAI="), ContainSubstring("path: tags.wifi.pwd")))
	w.Expect(files[in+"hubconnections.yaml"]).To(ContainSubstring("hostName: factory.azure-devices.net"))
	w.Expect(files[in+"events.txt"]).To(ContainSubstring("Warning HubConnection/hub HubError: a value that looks like a credential"))
	w.Expect(files["manager/logs/manager-1-manager.log"]).To(And(ContainSubstring(`"device":"d1"`), ContainSubstring(`"device":"d2"`)))
	w.Expect(files["manager/pods.txt"]).To(ContainSubstring("manager: image devicetwin-operator"))
	w.Expect(files["doctor.txt"]).To(ContainSubstring("its Secret hub-secret is there"))
	w.Expect(files).To(And(HaveKey("README.txt"), HaveKey("manager/leases.yaml"), Not(HaveKey("missing.txt"))))

	w.Expect(w.refused("report", "--manager-namespace", w.ns, "-f", file)).To(ContainSubstring("file exists"))
	again, err := os.ReadFile(file)
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(again).To(Equal(archive))
	left, err := filepath.Glob(filepath.Join(filepath.Dir(file), ".*"))
	w.Expect(err).NotTo(HaveOccurred())
	w.Expect(left).To(BeEmpty())
}

// TestReportOfAStranger says what it lacks, and is written all the same.
func TestReportOfAStranger(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.as("stranger")
	r := w.run("report", "--manager-namespace", w.ns, "-f", "-")
	w.Expect(r.Code).To(Equal(0), r.Err)
	w.Expect(r.Err).To(ContainSubstring("not in the report: DeviceTwins: "))
	files := unpacked(t, []byte(r.Out))
	w.Expect(files["missing.txt"]).To(And(ContainSubstring("Pods: "), ContainSubstring("events: "), ContainSubstring("cannot list resource")))
}
