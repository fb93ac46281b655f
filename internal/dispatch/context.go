package dispatch

import "context"

type grantKey struct{}

// With has the requests that are made under a context use up a grant first.
func With(ctx context.Context, grant *Grant) context.Context {
	return context.WithValue(ctx, grantKey{}, grant)
}

func grantOf(ctx context.Context) *Grant {
	grant, _ := ctx.Value(grantKey{}).(*Grant)
	return grant
}

type urgentKey struct{}

// Urgent has the requests that are made under a context, and that no grant pays for, go
// by turns with all that are not urgent, instead of behind them.
func Urgent(ctx context.Context) context.Context {
	return context.WithValue(ctx, urgentKey{}, true)
}

func isUrgent(ctx context.Context) bool {
	urgent, _ := ctx.Value(urgentKey{}).(bool)
	return urgent
}
