package main

import (
	"strings"
	"testing"
	"time"
)

func TestWhatAHubAllows(t *testing.T) {
	t.Parallel()
	for n, want := range map[int][2]time.Duration{
		100:  {2500 * time.Millisecond, 2500 * time.Millisecond}, // all queries at once
		2000: {50 * time.Second, 55 * time.Second},               // 14 of 22 queries wait
	} {
		if updates, queries := allowed(n); updates != want[0] || queries != want[1] {
			t.Errorf("%d devices: %s and %s, want %s and %s", n, updates, queries, want[0], want[1])
		}
	}
}

func TestSetsSelectTheirOwnDevicesAndShareNoLeaf(t *testing.T) {
	t.Parallel()
	line, cell := twinSet("hub", lineDevices), twinSet("hub", cellDevices)
	for _, set := range []string{line.Spec.Selector.Where, string(line.Spec.Template.Tags.Raw), string(line.Spec.Template.Desired.Raw)} {
		if !strings.Contains(set, lineDevices) || strings.Contains(set, cellDevices) {
			t.Errorf("%s is not of %s alone", set, lineDevices)
		}
	}
	if string(line.Spec.Template.Desired.Raw) == string(cell.Spec.Template.Desired.Raw) {
		t.Error("both sets declare the same")
	}
}
