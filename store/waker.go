package store

import "context"

// Waker is what a [Store] may have besides, to shorten the wait of other
// processes: news that there may be deliveries to claim. A Sender listens while it
// runs and polls all the same.
type Waker interface {
	// Listen calls wake whenever another process has made deliveries ready, until
	// ctx ends or the connection fails, and returns the reason. It calls wake once as
	// soon as it listens, since what came before was not heard. It returns nil at
	// once if there is nothing to listen to. News may be lost, late or false. wake
	// does not block.
	Listen(ctx context.Context, wake func()) error
}
