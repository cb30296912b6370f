package dedupe_test

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/verifier"
	"github.com/hookpost/hookpost/verifier/dedupe"
)

func TestMemory(t *testing.T) {
	ctx := t.Context()
	m := dedupe.NewMemory(nil)
	first, err := m.Claim(ctx, "evt_1")
	require.NoError(t, err)
	_, err = m.Claim(ctx, "evt_1")
	require.ErrorIs(t, err, verifier.ErrInProgress)
	_, err = m.Claim(ctx, "evt_2")
	require.NoError(t, err, "another event")

	require.NoError(t, first.Release(ctx))
	second, err := m.Claim(ctx, "evt_1")
	require.NoError(t, err)
	require.NoError(t, first.Done(ctx), "of a claim that is over")
	require.NoError(t, first.Release(ctx))
	_, err = m.Claim(ctx, "evt_1")
	require.ErrorIs(t, err, verifier.ErrInProgress, "the second holds it still")

	require.NoError(t, second.Done(ctx))
	require.NoError(t, second.Release(ctx), "changes nothing after Done")
	_, err = m.Claim(ctx, "evt_1")
	require.ErrorIs(t, err, verifier.ErrDuplicate)
}

func TestMemoryKeeps(t *testing.T) {
	for keep, want := range map[time.Duration]time.Duration{0: 7 * 24 * time.Hour, time.Minute: time.Minute, -1: -1} {
		synctest.Test(t, func(t *testing.T) {
			ctx := t.Context()
			m := dedupe.NewMemory(&dedupe.MemoryOptions{Keep: keep})
			held, err := m.Claim(ctx, "evt_held")
			require.NoError(t, err)
			claim, err := m.Claim(ctx, "evt_1")
			require.NoError(t, err)
			require.NoError(t, claim.Done(ctx))

			if want < 0 {
				time.Sleep(100 * 365 * 24 * time.Hour)
				_, err = m.Claim(ctx, "evt_1")
				require.ErrorIs(t, err, verifier.ErrDuplicate)
				return
			}
			time.Sleep(want - 1)
			_, err = m.Claim(ctx, "evt_1")
			require.ErrorIs(t, err, verifier.ErrDuplicate)
			time.Sleep(time.Nanosecond)
			_, err = m.Claim(ctx, "evt_1")
			require.NoError(t, err)
			_, err = m.Claim(ctx, "evt_held")
			require.ErrorIs(t, err, verifier.ErrInProgress, "who runs for long holds it for long")
			require.NoError(t, held.Done(ctx))
			_, err = m.Claim(ctx, "evt_held")
			require.ErrorIs(t, err, verifier.ErrDuplicate, "kept from when it was done")
		})
	}
}

func TestMemoryBound(t *testing.T) {
	ctx := t.Context()
	for _, limit := range []int{1, 10, -1} {
		m := dedupe.NewMemory(&dedupe.MemoryOptions{Max: limit})
		_, err := m.Claim(ctx, "held")
		require.NoError(t, err)
		const n = 100
		for i := range n {
			claim, err := m.Claim(ctx, fmt.Sprint(i))
			require.NoError(t, err)
			require.NoError(t, claim.Done(ctx))
		}
		_, err = m.Claim(ctx, "held")
		require.ErrorIs(t, err, verifier.ErrInProgress, "what runs is not forgotten")
		known := 0
		for i := n - 1; i >= 0; i-- {
			if _, err := m.Claim(ctx, fmt.Sprint(i)); errors.Is(err, verifier.ErrDuplicate) {
				require.Equal(t, n-1-i, known, "the newest are kept")
				known++
			}
		}
		if limit < 0 {
			limit = n
		}
		require.Equal(t, limit, known)
	}
}

func TestMemoryConcurrent(t *testing.T) {
	m := dedupe.NewMemory(&dedupe.MemoryOptions{Max: 8})
	var holders [4]atomic.Int32
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 1000 {
				k := (worker + i) % len(holders)
				claim, err := m.Claim(t.Context(), fmt.Sprint(k, i/100))
				if err != nil {
					continue
				}
				if worker%2 == 0 {
					_ = claim.Release(t.Context())
				} else {
					_ = claim.Done(t.Context())
				}
			}
		})
		wg.Go(func() {
			for i := range 1000 {
				k := i % len(holders)
				claim, err := m.Claim(t.Context(), fmt.Sprint("held", k))
				if err != nil {
					continue
				}
				if holders[k].Add(1) != 1 {
					t.Error("two claims at once")
				}
				holders[k].Add(-1)
				_ = claim.Release(t.Context())
			}
		})
	}
	wg.Wait()
}

func BenchmarkMemory(b *testing.B) {
	m := dedupe.NewMemory(&dedupe.MemoryOptions{Max: 1000})
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("evt_%d", i)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		if claim, err := m.Claim(b.Context(), keys[i%len(keys)]); err == nil {
			_ = claim.Done(b.Context())
		}
	}
}
