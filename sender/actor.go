package sender

import "context"

const maxActor = 255 // bytes

type actorKey struct{}

// WithActor says who makes the changes of endpoints under the returned context,
// such as a user's e-mail address. It goes into the endpoints' history. A change
// by an actor that is not valid UTF-8 without NUL of at most 255 bytes is refused
// with an ErrInvalidEndpoint.
func WithActor(ctx context.Context, actor string) context.Context {
	return context.WithValue(ctx, actorKey{}, actor)
}

// actor returns who changes endpoints under ctx; empty: unknown.
func actor(ctx context.Context) (string, error) {
	a, _ := ctx.Value(actorKey{}).(string)
	return a, checkText("actor", a, maxActor)
}
