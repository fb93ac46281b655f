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

type lineKey struct{}

// Urgent has the requests that are made under a context, and that no permit pays for, go
// alternately with all that are not urgent, instead of behind them.
func Urgent(ctx context.Context) context.Context {
	return context.WithValue(ctx, lineKey{}, urgent)
}

// Asked has the requests that are made under a context, and that no permit pays for, go
// alternately with what is done in the background, instead of behind it: a person waits.
func Asked(ctx context.Context) context.Context {
	return context.WithValue(ctx, lineKey{}, asked)
}

func lineOf(ctx context.Context) line {
	own, ok := ctx.Value(lineKey{}).(line)
	if !ok {
		return background
	}
	return own
}
