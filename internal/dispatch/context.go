package dispatch

import "context"

type permitKey struct{}

// With has the requests that are made under a context use up a permit first.
func With(ctx context.Context, permit *Permit) context.Context {
	return context.WithValue(ctx, permitKey{}, permit)
}

func grantOf(ctx context.Context) *Permit {
	permit, _ := ctx.Value(permitKey{}).(*Permit)
	return permit
}

type urgentKey struct{}

// Urgent has the requests that are made under a context, and that no permit pays for, go
// alternately with all that are not urgent, instead of behind them.
func Urgent(ctx context.Context) context.Context {
	return context.WithValue(ctx, urgentKey{}, true)
}

func isUrgent(ctx context.Context) bool {
	urgent, _ := ctx.Value(urgentKey{}).(bool)
	return urgent
}
