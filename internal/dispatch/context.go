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
