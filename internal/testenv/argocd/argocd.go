// Package argocd runs the health check of config/argocd in the way Argo CD does, so that
// tests need no Argo CD.
package argocd

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"time"

	lua "github.com/yuin/gopher-lua"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/devicetwin-io/devicetwin-operator/internal/testenv"
)

// Health is one of the statuses that a health check may return.
type Health string

// The statuses of Argo CD that the health check uses.
const (
	Healthy     Health = "Healthy"
	Progressing Health = "Progressing"
	Degraded    Health = "Degraded"
	Suspended   Health = "Suspended"
)

// timeout is what Argo CD gives a script.
const timeout = time.Second

// HealthOf is what Argo CD shows for an object, with its message. Argo CD does not ask the
// script about an object that is being deleted.
func HealthOf(obj *unstructured.Unstructured) (Health, string, error) {
	if obj.GetDeletionTimestamp() != nil {
		return Progressing, "Pending deletion", nil
	}
	root, err := testenv.ProjectRoot()
	if err != nil {
		return "", "", err
	}
	script, err := os.ReadFile(filepath.Join(root, "config", "argocd", "health.lua"))
	if err != nil {
		return "", "", err
	}
	return run(string(script), obj)
}

func run(script string, obj *unstructured.Unstructured) (Health, string, error) {
	state, err := newState()
	if err != nil {
		return "", "", err
	}
	defer state.Close()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	state.SetContext(ctx)
	state.SetGlobal("obj", value(state, obj.Object))
	if err := state.DoString(script); err != nil {
		return "", "", err
	}
	returned, ok := state.Get(-1).(*lua.LTable)
	if !ok {
		return "", "", fmt.Errorf("the health check returned a %s, not a table", state.Get(-1).Type())
	}
	switch status := Health(lua.LVAsString(returned.RawGetString("status"))); status {
	case Healthy, Progressing, Degraded, Suspended:
		return status, lua.LVAsString(returned.RawGetString("message")), nil
	default: // Argo CD shows Unknown
		return "", "", fmt.Errorf("the health check returned %q, which is no health", status)
	}
}

// newState has the libraries that Argo CD opens for scripts of argocd-cm: not those for
// strings and numbers, input and output.
func newState() (*lua.LState, error) {
	state := lua.NewState(lua.Options{SkipOpenLibs: true})
	for name, open := range map[string]lua.LGFunction{
		lua.LoadLibName: lua.OpenPackage, lua.BaseLibName: lua.OpenBase, lua.TabLibName: lua.OpenTable,
	} {
		if err := state.CallByParam(lua.P{Fn: state.NewFunction(open), Protect: true}, lua.LString(name)); err != nil {
			state.Close()
			return nil, err
		}
	}
	return state, nil
}

// value is a part of an object as a Lua value.
func value(state *lua.LState, from any) lua.LValue {
	switch from := from.(type) {
	case bool:
		return lua.LBool(from)
	case int64:
		return lua.LNumber(from)
	case float64:
		return lua.LNumber(from)
	case string:
		return lua.LString(from)
	case []any:
		table := state.CreateTable(len(from), 0)
		for _, item := range from {
			table.Append(value(state, item))
		}
		return table
	case map[string]any:
		table := state.CreateTable(0, len(from))
		for key, item := range from {
			table.RawSetString(key, value(state, item))
		}
		return table
	}
	return lua.LNil
}
