package twinrequest

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"

	"github.com/devicetwin-io/devicetwin-operator/api/v1alpha1"
	"github.com/devicetwin-io/devicetwin-operator/internal/dispatch"
	"github.com/devicetwin-io/devicetwin-operator/internal/hub"
	"github.com/devicetwin-io/devicetwin-operator/internal/hubaccess"
	"github.com/devicetwin-io/devicetwin-operator/internal/outcome"
	"github.com/devicetwin-io/devicetwin-operator/internal/twinstatus"
	"github.com/devicetwin-io/devicetwin-operator/internal/validation"
)

// metadata is what IoT Hub keeps of each leaf: twice as much as the leaves themselves.
const metadata = "$metadata"

// query asks for one page of twins.
func (a *Answers) query(ctx context.Context, obj *v1alpha1.TwinRequest, acquire Acquire) (*v1alpha1.TwinRequestRows, error) {
	asked := obj.Spec.Query
	read, errs := validation.TwinRequestQuery(asked)
	if len(errs) > 0 {
		return nil, outcome.Stall(v1alpha1.ReasonInvalidQuery, validation.Text(errs)+". The hub was not asked")
	}
	found, err := a.Hubs.Resolve(ctx, obj.Namespace, asked.HubRef)
	if err != nil {
		return nil, err
	}
	if read.Condition, err = found.Scope.Narrow(read.Condition); err != nil {
		return nil, err
	}
	// A place alone: for the page it waits in line, since what stands in line for pages comes before what is parked.
	permit, err := acquire(found.Session, dispatch.Need{})
	if err != nil {
		return nil, err
	}
	defer permit.Done()
	selection := selectionOf(asked, read)
	page, err := found.Session.FindPage(dispatch.Asked(dispatch.With(ctx, permit)), selection)
	switch {
	case hub.TooLong(err):
		return nil, tooLarge(err)
	case hub.ReasonOf(err) == hub.ReasonRefused:
		return nil, outcome.Stall(v1alpha1.ReasonQueryRefused, "the hub refused the query: "+err.Error())
	case err != nil:
		return nil, err
	}
	billed, err := messages(found.Spec, page.Bytes)
	answer := &v1alpha1.TwinRequestRows{Continue: page.Continue, Condition: selection.Where, Pages: 1, Messages: billed}
	answer.Rows, answer.Unreadable = rowsOf(page, found.Scope, read.Columns.Names(metadata))
	return answer, err
}

func selectionOf(asked *v1alpha1.TwinRequestQuery, read validation.RequestedQuery) hub.PageSelection {
	selection := hub.PageSelection{Columns: read.Columns, Rows: int(asked.PageSize), Continue: asked.Continue}
	selection.From, selection.Where = hub.Devices, read.Condition.String()
	if asked.From == string(hub.Modules) {
		selection.From = hub.Modules
	}
	return selection
}

// rowsOf are the rows as a status holds them, and how many cannot be. The scope is in the
// query; it is held against each row once more, since where a page continues is told by the
// request, which may have been made for another query.
func rowsOf(page hub.Page, scope hubaccess.Scope, withMetadata bool) (rows []runtime.RawExtension, unreadable int32) {
	for range page.Unreadable {
		unreadable++ // a page has 100 rows at most
	}
	for _, row := range page.Rows {
		if !scope.Covers(row.ID.Device) {
			continue
		}
		if !withMetadata {
			dropMetadata(row.Document)
		}
		spelled, err := twinstatus.AsStored(row.Document)
		if err != nil {
			unreadable++ // a number that the API server cannot store
			continue
		}
		rows = append(rows, *spelled)
	}
	return rows, unreadable
}

func dropMetadata(document map[string]any) {
	properties, _ := document["properties"].(map[string]any)
	for _, section := range properties {
		if held, isObject := section.(map[string]any); isObject {
			delete(held, metadata)
		}
	}
}
