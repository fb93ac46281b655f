package inspect

import (
	"fmt"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/duration"

	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/rollout"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

const (
	// wholeBar and waveBar are how wide the bars of a set and of a wave are.
	wholeBar = 40
	waveBar  = 20
	legend   = "# acknowledged  ! failed  ~ offline  = waited for  . not written"
)

// printSet shows where the rollout of a DeviceTwinSet stands.
func printSet(screen *terminal.Screen, r *rollout.Rollout, now time.Time) {
	screen.Line(terminal.Heading, "devicetwinset/%s of %s, hub %s", r.Name, r.Namespace, r.Hub)
	facts := terminal.NewTable(2).Sentences()
	facts.Row(terminal.Text("Ready"), terminal.Styled(styleOf(r.Ready), "%s%s", r.Ready, becauseOf(r)))
	facts.Row(terminal.Text("Phase"), terminal.Styled(phaseStyle(r), "%s", phaseText(r)))
	facts.Row(terminal.Text("Revision"), terminal.Text("%s", revisionText(r)))
	facts.Row(terminal.Text("Devices"), terminal.Text("%s", countsText(r)))
	if r.ETA != nil {
		facts.Row(terminal.Text("ETA"), terminal.Text("%s", etaText(r.ETA.Time, now)))
	}
	screen.Table(facts)
	screen.Line(terminal.Plain, "  %s %d%% written", setBar(r, wholeBar), percent(r.Counts.Written, r.Counts.Selected))
	screen.Line(terminal.Faint, "  %s", legend)
	if next := r.Next(); next != "" {
		screen.Line(terminal.Warning, "  %s", next)
	}
	screen.Line(terminal.Plain, "")
	printWaves(screen, r, now)
	if len(r.Examples) > 0 {
		screen.Line(terminal.Plain, "")
		printExamples(screen, r)
	}
}

func printWaves(screen *terminal.Screen, r *rollout.Rollout, now time.Time) {
	table := terminal.NewTable(2, "WAVE", "STATE", "PROGRESS", "WRITTEN", "ACKNOWLEDGED", "FAILED", "OFFLINE").Keep(0)
	for i := range r.Waves {
		w := &r.Waves[i]
		failed := terminal.Text("%d", w.Failed)
		if w.Failed > 0 {
			failed.Style = terminal.Bad
		}
		if w.Forgiven > 0 {
			failed.Text += fmt.Sprintf(" (%d forgiven)", w.Forgiven)
		}
		table.Row(terminal.Text("%s", w.Name), terminal.Text("%s", stateText(w, now)), terminal.Text("%s", bar(w, waveBar)),
			terminal.Text("%d", w.Written), terminal.Text("%d", w.Acknowledged), failed, terminal.Text("%d", w.Offline))
	}
	screen.Table(table)
}

func printExamples(screen *terminal.Screen, r *rollout.Rollout) {
	table := terminal.NewTable(2, "DEVICE", "REASON", "MESSAGE").Keep(0)
	for _, example := range r.Examples {
		table.Row(terminal.Text("%s", example.DeviceID), terminal.Styled(terminal.Bad, "%s", example.Reason), terminal.Text("%s", example.Message))
	}
	screen.Table(table)
}

// setBar is what came of all devices that are selected, bar what came of the written ones of a wave: how many it is to have
// is not known before they are written.
func setBar(r *rollout.Rollout, width int) string {
	c := r.Counts
	return terminal.Bar(width, c.Selected, parts(c.Acknowledged, c.Rejected, c.Offline, c.Written)...)
}

func bar(w *rollout.Wave, width int) string {
	return terminal.Bar(width, w.Written, parts(w.Acknowledged, w.Failed, w.Offline, w.Written)...)
}

func parts(acknowledged, failed, offline, written int64) []terminal.Part {
	return []terminal.Part{
		{Sign: "#", Count: acknowledged}, {Sign: "!", Count: failed}, {Sign: "~", Count: offline},
		{Sign: "=", Count: written - acknowledged - failed - offline},
	}
}

func percent(part, whole int64) int64 {
	if whole <= 0 {
		return 0
	}
	return min(part, whole) * 100 / whole
}

func becauseOf(r *rollout.Rollout) string {
	switch {
	case r.Reason == "":
		return ": no controller has looked at it yet"
	case r.Message == "":
		return " (" + r.Reason + ")"
	}
	return " (" + r.Reason + "): " + r.Message
}

func phaseText(r *rollout.Rollout) string {
	text := "none"
	if r.Phase != "" {
		text = string(r.Phase)
	}
	if r.Wave != "" {
		text += ", wave " + r.Wave
	}
	return text
}

func phaseStyle(r *rollout.Rollout) terminal.Style {
	switch {
	case r.Result == rollout.Failed:
		return terminal.Bad
	case r.Result == rollout.Succeeded:
		return terminal.Good
	case r.Next() != "":
		return terminal.Warning
	}
	return terminal.Plain
}

func revisionText(r *rollout.Rollout) string {
	if r.Revision == "" {
		return "none"
	}
	text := r.Revision
	switch r.StableRevision {
	case "":
		text += ", none was complete yet"
	case r.Revision:
		text += ", the stable one"
	default:
		text += ", stable is " + r.StableRevision
	}
	if r.FailedRevision != "" {
		text += "; rolled back from " + r.FailedRevision
	}
	return text
}

func countsText(r *rollout.Rollout) string {
	c := r.Counts
	said := []string{fmt.Sprintf("%d selected (at most %d)", c.Selected, r.MaxDevices)}
	for _, part := range []struct {
		count int64
		what  string
		rare  bool
	}{
		{c.Written, "written", false}, {c.Acknowledged, "acknowledged", false}, {c.Rejected, "rejected", false}, {c.Offline, "offline", false},
		{c.Pending, "pending", false}, {c.Overridden, "overridden by DeviceTwins", true}, {c.Conflicting, "conflicting", true},
	} {
		if part.count > 0 || !part.rare {
			said = append(said, fmt.Sprintf("%d %s", part.count, part.what))
		}
	}
	return strings.Join(said, ", ")
}

func etaText(eta, now time.Time) string {
	if left := eta.Sub(now); left > 0 {
		return "in " + duration.HumanDuration(left) + ", " + eta.Local().Format("15:04:05 MST")
	}
	return "about now"
}

func stateText(w *rollout.Wave, now time.Time) string {
	since := func(what string, at *metav1.Time) string {
		if at == nil {
			return what
		}
		return what + " " + duration.HumanDuration(ago(now, *at)) + " ago"
	}
	switch w.State {
	case rollout.Ahead:
		return "to come"
	case rollout.Current:
		return "in progress"
	case rollout.Stopped:
		return "stopped"
	case rollout.Soaking:
		return since("soaking, complete", w.CompletedAt)
	case rollout.Awaiting:
		return since("awaits approval, complete", w.CompletedAt)
	case rollout.Complete:
		return since("complete", w.CompletedAt)
	}
	return string(w.State)
}

// line is a rollout in one line, for a log.
func line(r *rollout.Rollout) string {
	text := phaseText(r)
	for i := range r.Waves {
		if w := &r.Waves[i]; w.Name == r.Wave {
			text += fmt.Sprintf(": %d written, %d acknowledged, %d failed, %d offline", w.Written, w.Acknowledged, w.Failed, w.Offline)
		}
	}
	return text + fmt.Sprintf("; of %d devices %d are written, %d acknowledged", r.Counts.Selected, r.Counts.Written, r.Counts.Acknowledged)
}
