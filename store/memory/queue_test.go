package memory

import (
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestQueueIsSorted(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var q queue
	var in []*delivery
	for i := range 5000 {
		d := &delivery{event: &event{}, due: micros(rng.IntN(500))}
		d.event.Num = int64(i)
		q.push(d.due, d)
		in = append(in, d)
		if rng.IntN(3) == 0 {
			at := rng.IntN(len(in))
			require.Same(t, in[at], q.remove(in[at].pos))
			in = slices.Delete(in, at, at+1)
		}
	}
	for i := range q {
		require.Equal(t, i, q[i].d.pos)
	}
	slices.SortStableFunc(in, func(a, b *delivery) int { return int(a.due - b.due) })
	for _, want := range in {
		require.Same(t, want, q.remove(0))
	}
	require.Empty(t, q)
}

func TestNumberSetFindsTheNext(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var s numberSet
	require.EqualValues(t, -1, s.next(0))
	members := map[int64]bool{}
	for range 3000 {
		n := rng.Int64N(1 << rng.IntN(22))
		if rng.IntN(3) > 0 {
			s.add(n)
			members[n] = true
		} else {
			s.remove(n)
			delete(members, n)
		}
		from := rng.Int64N(1 << 22)
		want := int64(-1)
		for m := range members {
			if m >= from && (want < 0 || m < want) {
				want = m
			}
		}
		require.Equal(t, want, s.next(from))
	}
	s.add(20 << 20) // beyond the first word of the top level
	require.EqualValues(t, 20<<20, s.next(17<<20))
	s.remove(20 << 20)
	require.EqualValues(t, -1, s.next(17<<20))
}
