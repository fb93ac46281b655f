package store_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	. "github.com/onsi/gomega"
	"k8s.io/utils/clock"

	"github.com/devicetwin-io/devicetwin-operator/hubemulator/internal/store"
)

// Whatever is written, deleted and evaluated at the same time: what is left
// afterwards is what the last evaluation makes of it.
func TestEvaluationBesideWrites(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1", "d2", "d3")
	const rounds = 50
	body := []byte(`{"content":{"deviceContent":{"properties.desired.a":1}},"targetCondition":"*"}`)
	var writers sync.WaitGroup
	repeat := func(run func() error) {
		writers.Go(func() {
			for range rounds {
				if err := run(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for i := range 3 {
		id, device := fmt.Sprintf("c%d", i), store.ID{Device: fmt.Sprintf("d%d", i+1)}
		repeat(func() error {
			_, err := h.PutConfiguration(id, "", body)
			return errors.Join(err, h.DeleteConfiguration(id, ""))
		})
		repeat(func() error {
			gone := h.DeleteIdentity(device, "*")
			_, made := h.PutIdentity(device, "", []byte(`{}`))
			_, err := h.PatchTwin(device, "", []byte(`{"properties":{"desired":{"a":2}}}`))
			return errors.Join(gone, made, err)
		})
		repeat(func() error {
			_, err := h.EvaluateConfigurations(t.Context())
			return err
		})
	}
	writers.Wait()
	for _, twin := range h.Scan(store.Devices, store.ID{}) {
		g.Expect(twin.Document()).NotTo(HaveKey("configurations"), "no configuration is left")
	}

	for _, id := range []string{"d1", "d2", "d3"} {
		_, err := h.PatchTwin(store.ID{Device: id}, "", []byte(`{"properties":{"desired":{"a":2}}}`))
		g.Expect(err).NotTo(HaveOccurred())
	}
	_, err := h.PutConfiguration("last", "", body)
	g.Expect(err).NotTo(HaveOccurred())
	done, err := h.EvaluateConfigurations(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(done).To(Equal(store.Evaluation{Configurations: 1, Written: 3}))
}

// A device that is told of a configuration has it deleted: the run goes on
// without it.
func TestConfigurationDeletedDuringItsEvaluation(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1", "d2")
	for _, id := range []string{"c1", "c2"} {
		body := fmt.Appendf(nil, `{"content":{"deviceContent":{"properties.desired.%s":1}},"targetCondition":"*"}`, id)
		_, err := h.PutConfiguration(id, "", body)
		g.Expect(err).NotTo(HaveOccurred())
	}
	deleted := make(chan error, 1)
	session, _ := h.connect(t, "d1")
	session.SubscribeDesired(func(int64, map[string]any) { deleted <- h.DeleteConfiguration("c1", "") })
	done, err := h.EvaluateConfigurations(t.Context())
	g.Expect(err).NotTo(HaveOccurred())
	g.Expect(deleted).To(Receive(BeNil()))
	g.Expect(done.Written).To(Equal(2))
	for device, desired := range map[string][]string{"d1": {"c1", "c2"}, "d2": {"c2"}} {
		twin, err := h.Twin(store.ID{Device: device})
		g.Expect(err).NotTo(HaveOccurred())
		g.Expect(twin["configurations"]).To(Equal(map[string]any{"c2": map[string]any{"status": "Applied"}}), device)
		properties := twin["properties"].(map[string]any)["desired"].(map[string]any)
		g.Expect(properties).To(HaveLen(len(desired) + 2)) // and $metadata, $version
		for _, name := range desired {
			g.Expect(properties).To(HaveKey(name))
		}
	}
}

func TestEvaluationStopsWithItsContext(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t, "d1")
	_, err := h.PutConfiguration("c1", "", []byte(`{"content":{"deviceContent":{"properties.desired.a":1}},"targetCondition":"*"}`))
	g.Expect(err).NotTo(HaveOccurred())
	ctx, stop := context.WithCancel(t.Context())
	stop()
	done, err := h.EvaluateConfigurations(ctx)
	g.Expect(err).To(MatchError(context.Canceled))
	g.Expect(done.Written).To(BeZero())
}

// BenchmarkEvaluate measures an evaluation that has nothing to write, at
// 10,000 devices.
func BenchmarkEvaluate(b *testing.B) {
	h := store.New(store.Options{Clock: clock.RealClock{}})
	for i := range 10_000 {
		id := store.ID{Device: fmt.Sprintf("device-%06d", i)}
		if _, err := h.PutIdentity(id, "", []byte(`{}`)); err != nil {
			b.Fatal(err)
		}
		if _, err := h.PatchTwin(id, "", fmt.Appendf(nil, `{"tags":{"plant":%d},"properties":{"desired":{"a":1,"b":{"c":"d"}}}}`, i%100)); err != nil {
			b.Fatal(err)
		}
	}
	for _, configurations := range []int{0, 1, 10} {
		b.Run(fmt.Sprint(configurations), func(b *testing.B) {
			for i := range configurations {
				body := fmt.Appendf(nil, `{"content":{"deviceContent":{"properties.desired.b.c":"d%d"}},"targetCondition":"tags.plant >= 0","priority":%d}`, i, i)
				if _, err := h.PutConfiguration(fmt.Sprintf("c%d", i), "*", body); err != nil {
					if _, err := h.PutConfiguration(fmt.Sprintf("c%d", i), "", body); err != nil {
						b.Fatal(err)
					}
				}
			}
			if _, err := h.EvaluateConfigurations(b.Context()); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if done, err := h.EvaluateConfigurations(b.Context()); err != nil || done.Written != 0 {
					b.Fatalf("%+v %v", done, err)
				}
			}
		})
	}
}

func TestRefusedRestoreOfConfigurations(t *testing.T) {
	t.Parallel()
	g := NewWithT(t)
	h := newHub(t)
	_, err := h.PutConfiguration("c1", "", []byte(`{"content":{"deviceContent":{}},"targetCondition":"*"}`))
	g.Expect(err).NotTo(HaveOccurred())
	for saved := range h.SavedConfigurations() {
		g.Expect(h.RestoreConfiguration(saved)).To(MatchError(`configuration "c1": it is there twice`))
		saved.ID, saved.TargetCondition = "c2", "tags.a ="
		g.Expect(h.RestoreConfiguration(saved)).To(MatchError(ContainSubstring("The target condition is no condition")))
	}
}
