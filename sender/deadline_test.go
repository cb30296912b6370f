package sender

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestDeadlineServesOneRequestAfterTheOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeadline(t.Context())
		for range 3 {
			d.start(time.Second)
			at, ok := d.ctx.Deadline()
			require.True(t, ok)
			require.WithinDuration(t, time.Now().Add(time.Second), at, 0)
			time.Sleep(900 * time.Millisecond)
			require.NoError(t, d.ctx.Err())
			require.Same(t, d, d.next(t.Context()))
		}
		time.Sleep(time.Hour)
		require.NoError(t, d.ctx.Err(), "nothing is under way")
		d.end(nil)
	})
}

func TestDeadlineThatHasStruckIsReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		struck := newDeadline(t.Context())
		struck.start(time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		require.ErrorIs(t, struck.ctx.Err(), context.DeadlineExceeded)
		struck.atMost(time.Minute) // as for the rest of a body; it must not hide what has happened
		fresh := struck.next(t.Context())
		require.NotSame(t, struck, fresh)
		require.NoError(t, fresh.ctx.Err())

		fresh.spent = true // a request failed
		third := fresh.next(t.Context())
		require.NotSame(t, fresh, third)
		require.Error(t, fresh.ctx.Err(), "what the request left behind must end")
		third.end(nil)
	})
}

func TestDeadlineOnlyMovesNearer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDeadline(t.Context())
		d.start(time.Second)
		time.Sleep(900 * time.Millisecond)
		d.atMost(time.Minute)
		time.Sleep(100 * time.Millisecond)
		synctest.Wait()
		require.Error(t, d.ctx.Err())

		d = d.next(t.Context())
		d.start(time.Minute)
		d.atMost(time.Second)
		time.Sleep(time.Second)
		synctest.Wait()
		require.Error(t, d.ctx.Err())
	})
}
