package diff

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/credential"
	"github.com/devicetwin-io/devicetwin-operator/internal/kubectltwin/terminal"
)

// item is what one DeviceTwin would write.
type item struct {
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
	Device    string `json:"device"`
	Module    string `json:"module,omitempty"`
	// Error says why it is not known.
	Error string `json:"error,omitempty"`

	Patch     any    `json:"patch,omitempty"`
	Leaves    []leaf `json:"leaves,omitempty"`
	Messages  int64  `json:"messages"`
	Registers bool   `json:"registers,omitempty"`
	Reason    string `json:"reason,omitempty"`
	Message   string `json:"message,omitempty"`
}

// leaf is one before and after; nil for none.
type leaf struct {
	Path     string `json:"path"`
	Before   any    `json:"before,omitempty"`
	After    any    `json:"after,omitempty"`
	Withheld string `json:"withheld,omitempty"`
}

// writes tells whether the hub would be changed.
func (i item) writes() bool { return i.Patch != nil || i.Registers }

// quiet tells whether there is nothing to tell.
func (i item) quiet() bool {
	return i.Error == "" && !i.writes() && len(i.Leaves) == 0 && i.Reason == v1alpha1.ReasonSucceeded
}

// take takes over a plan, without what looks like a credential unless it is to be shown.
func (i *item) take(plan *v1alpha1.TwinRequestPlanned, credentials bool) error {
	i.Messages, i.Registers, i.Reason, i.Message = plan.Messages, plan.Registers, plan.Reason, plan.Message
	var err error
	if i.Patch, err = decoded(plan.Patch); err != nil {
		return err
	}
	if !credentials {
		i.Patch, _ = credential.Redacted(i.Patch)
	}
	for _, planned := range plan.Leaves {
		shown := leaf{Path: planned.Path, Withheld: planned.Withheld}
		if shown.Before, err = decoded(planned.Before); err != nil {
			return err
		}
		if shown.After, err = decoded(planned.After); err != nil {
			return err
		}
		if !credentials {
			shown.hide()
		}
		i.Leaves = append(i.Leaves, shown)
	}
	return nil
}

// hide puts a note in the place of values that look like credentials, by the names that lead to them or by themselves.
func (l *leaf) hide() {
	keys := strings.Split(l.Path, ".")
	for _, value := range []*any{&l.Before, &l.After} {
		if *value != nil && credential.HeldAt(keys, *value) {
			*value = credential.Hidden
		}
	}
}

func decoded(raw *runtime.RawExtension) (any, error) {
	if raw == nil {
		return nil, nil
	}
	var value any
	if err := json.Unmarshal(raw.Raw, &value); err != nil {
		return nil, fmt.Errorf("the manager's answer cannot be read: %w", err)
	}
	return value, nil
}

func (d *command) print(items []item) error {
	if d.format.Structured() {
		return d.format.Print(d.access.Out, map[string]any{"items": items})
	}
	screen := d.access.Screen()
	patches, messages, inStep := 0, int64(0), 0
	for _, i := range items {
		if i.quiet() {
			inStep++
		}
		if i.writes() {
			patches++
		}
		messages += i.Messages
		if i.Error != "" {
			d.access.Note("error: devicetwin/%s of %s: %s", i.Name, i.Namespace, strings.Join(strings.Fields(i.Error), " "))
		} else if d.all || !i.quiet() {
			i.show(screen)
		}
	}
	screen.Line(terminal.Plain, "%d of %s would write to the hub, for %s; %d in step", patches, terminal.Count(len(items), "DeviceTwin"), terminal.Count(messages, "message"), inStep)
	return nil
}

func (i item) show(screen *terminal.Screen) {
	device := "device " + i.Device
	if i.Module != "" {
		device = "module " + i.Module + " of " + device
	}
	screen.Line(terminal.Heading, "devicetwin/%s of %s, %s: %s", i.Name, i.Namespace, device, i.summary())
	for _, l := range i.Leaves {
		l.show(screen)
	}
}

func (i item) summary() string {
	var parts []string
	if i.Registers {
		parts = append(parts, "registers the device")
	}
	if i.Patch != nil {
		parts = append(parts, "writes, for "+terminal.Count(i.Messages, "message"))
	}
	if !i.writes() {
		parts = append(parts, "writes nothing")
	}
	if i.Reason != "" {
		parts = append(parts, i.Reason+": "+i.Message)
	}
	return strings.Join(parts, "; ")
}

func (l leaf) show(screen *terminal.Screen) {
	sign, style, text := "~", terminal.Warning, spelled(l.Before)+" → "+spelled(l.After)
	switch {
	case l.Before == nil:
		sign, style, text = "+", terminal.Good, spelled(l.After)
	case l.After == nil:
		sign, style, text = "-", terminal.Bad, spelled(l.Before)
	}
	if l.Withheld != "" {
		sign, style, text = " ", terminal.Faint, text+" ("+l.Withheld+": not written)"
	}
	screen.Line(style, "  %s %s: %s", sign, l.Path, text)
}

func spelled(value any) string {
	if value == credential.Hidden {
		return credential.Hidden
	}
	text, err := json.Marshal(value)
	if err != nil {
		return "a value that is no JSON"
	}
	return string(text)
}
