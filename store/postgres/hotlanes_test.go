package postgres

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/store"
)

// Of every busy endpoint all is looked at once a second, also where each claim is
// ended by its bounds and comes to one endpoint only.
func TestAllOfHotLanesIsLookedAt(t *testing.T) {
	const lanes = 4
	var h hotLanes
	now := time.Now()
	for num := range int64(lanes) {
		h.claimed(slices.Repeat([]found{{Claimed: store.Claimed{ID: store.DeliveryID{Endpoint: num}}, due: now}}, 2*hotAfter))
	}
	full := func(int64) int { return 0 }
	room := func(int64) int { return 1 }
	whole := make(map[int64]int)
	const seconds = 10
	for k := range seconds * lanes { // each once a second
		now = now.Add(time.Second / lanes)
		num := int64(k % lanes)
		skipped, _ := h.known(now, room)
		if !slices.Contains(skipped, num) {
			whole[num]++
		}
		require.LessOrEqual(t, len(skipped), lanes)
		h.cameTo(now, func(n int64) bool { return n == num })
	}
	for num := range int64(lanes) {
		require.GreaterOrEqual(t, whole[num], seconds-1, num)
	}
	skipped, _ := h.known(now, room)
	require.NotEmpty(t, skipped, "in between what was taken is skipped")
	skipped, _ = h.known(now.Add(time.Minute), full)
	require.Len(t, skipped, lanes, "there is nothing to look for where there is no room")
	skipped, _ = h.known(now.Add(time.Minute), room)
	require.Empty(t, skipped)
}

func TestCameTo(t *testing.T) {
	for _, c := range []struct {
		name     string
		from, to int64
		more     bool
		found    int
		room     int
		want     []int64
	}{
		{"on", 2, 4, true, 1, 1, []int64{3, 4}},
		{"past the end", 4, 2, true, 1, 1, []int64{1, 2, 5}},
		{"once around", 3, 3, true, 1, 1, []int64{1, 2, 3, 4, 5}},
		{"nowhere", 3, 3, true, 0, 1, nil},
		{"to all that there is", 2, 4, false, 0, 1, []int64{1, 2, 3, 4, 5}},
		{"without room", 2, 4, false, 0, 0, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			claimed := claim{out: store.Claims{After: c.to, More: c.more}, found: make([]found, c.found)}
			var got []int64
			for num := int64(1); num <= 5; num++ {
				if claimed.cameTo(store.ClaimParams{After: c.from, DefaultRoom: c.room}, num) {
					got = append(got, num)
				}
			}
			require.Equal(t, c.want, got)
		})
	}
}
