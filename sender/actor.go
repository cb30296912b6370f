package sender

import "context"

type actorKey struct{}

// WithActor says who makes the changes of endpoints under the returned context,
// such as a user's e-mail address. It goes into the endpoints' history.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

func actor(ctx context.Context) string {
	a, _ := ctx.Value(actorKey{}).(string)
	return a
}
