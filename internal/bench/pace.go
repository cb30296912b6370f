package main

import (
	"context"
	"sync"
	"time"
)

// pace calls n times at a fixed rate, each time in a goroutine of its own: how long
// calls take does not put off those that follow. It returns, once all have returned,
// how late each was called, and the first error, which ends it.
func pace(ctx context.Context, interval time.Duration, n int, call func(i int) error) ([]time.Duration, error) {
	ctx, fail := context.WithCancelCause(ctx)
	defer fail(nil)
	var wg sync.WaitGroup
	late := make([]time.Duration, n)
	start := time.Now()
	for i := range n {
		due := start.Add(time.Duration(i) * interval)
		time.Sleep(time.Until(due))
		if ctx.Err() != nil {
			break
		}
		wg.Go(func() {
			late[i] = time.Since(due)
			if err := call(i); err != nil {
				fail(err)
			}
		})
	}
	wg.Wait()
	return late, context.Cause(ctx)
}
