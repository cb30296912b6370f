package sqlite

import (
	"context"
	"time"
)

// readWith runs f in a read transaction, so that all its statements see the same
// state. f may run more than once and must begin from nothing each time.
func readWith(ctx context.Context, p pool, wait time.Duration, f func(*conn) error) error {
	deadline := time.Now().Add(wait)
	for {
		err := readOnce(ctx, p, deadline, f)
		// In WAL mode readers wait for nobody, but while the file is put into it or
		// recovered, which a new connection may meet, and in other journal modes they do.
		if isBusy(err) && time.Now().Before(deadline) && ctx.Err() == nil {
			pause(ctx)
			continue
		}
		return ctxErr(ctx, explain(err))
	}
}

func readOnce(ctx context.Context, p pool, deadline time.Time, f func(*conn) error) error {
	s, err := p.getBy(ctx, deadline)
	if err != nil {
		return err
	}
	defer p.put(s)
	return s.use(ctx, func(c *conn) error { return snapshot(c, f) })
}

func snapshot(c *conn, f func(*conn) error) error {
	// The driver may report a context's end although the statement was run. Of the beginning
	// that must be known, and the end must happen.
	ctx, whole := c.ctx, context.WithoutCancel(c.ctx)
	c.ctx = whole
	if _, err := c.exec("BEGIN"); err != nil {
		return err
	}
	c.ctx = ctx
	err := f(c)
	c.ctx = whole
	if _, e := c.exec("ROLLBACK"); err == nil {
		err = e
	}
	return err
}
