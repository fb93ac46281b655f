package controllers_test

import (
	"os/exec"
	"testing"

	. "github.com/onsi/gomega"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// TestDeletingTheCRDsChangesNothingOnTheHub: with the default policy there is no
// finalizer, so that no manager is needed for it, and a fleet outlives an accident.
func TestDeletingTheCRDsChangesNothingOnTheHub(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	env, err := testenv.Start(testenv.Options{}) // the kinds go from the whole server
	g.Expect(err).NotTo(HaveOccurred())
	t.Cleanup(func() { g.Expect(env.Stop()).To(Succeed()) })
	g.Expect(grantManagers(env)).To(Succeed())
	w := newWorld(t, withEnv(env))
	w.connect()
	query := w.query("q", "tags.plant = 'Redmond43'")
	w.create(query)
	obj := w.twin("t1", "d1", `{"plant":"Redmond43"}`, `{"level":1}`)
	w.create(obj)
	w.awaitReady(obj)
	w.awaitReady(query)
	w.stop()
	before, calls := w.held("d1"), w.hubCalls()

	// It waits until they are gone, with all objects of theirs.
	deletion := exec.CommandContext(t.Context(), env.Kubectl(), "delete", "crd", "--timeout=20s",
		"devicetwins.iothub.devicetwin.io", "twinqueries.iothub.devicetwin.io", "hubconnections.iothub.devicetwin.io")
	deletion.Env = append(deletion.Environ(), "KUBECONFIG="+env.KubeconfigFile(t))
	printed, err := deletion.CombinedOutput()
	w.Expect(err).NotTo(HaveOccurred(), "%s", printed)
	w.uninstalled = true
	w.Expect(w.held("d1")).To(Equal(before))
	w.Expect(w.hubCalls()).To(Equal(calls))
}
