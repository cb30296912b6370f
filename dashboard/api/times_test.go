package api

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// A page can be read whatever a store says of one of its elements.
func TestTimesThatJSONLacks(t *testing.T) {
	const first, last = "0000-01-01T00:00:00.000000Z", "9999-12-31T23:59:59.999999Z"
	for _, c := range []struct {
		at   time.Time
		want string
	}{
		{time.Date(10_000, 1, 1, 0, 0, 0, 0, time.UTC), last},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -3600)), last},
		{time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC), last},
		{time.Unix(math.MaxInt64/2, 0), last},
		{time.Date(-1, 12, 31, 23, 59, 59, 0, time.UTC), first},
		{time.Date(0, 1, 1, 0, 0, 0, 0, time.FixedZone("", 3600)), first},
		{time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC), first},
		{time.Date(2026, 5, 24, 12, 0, 0, 0, time.FixedZone("", 7200)), "2026-05-24T10:00:00.000000Z"},
	} {
		b, err := json.Marshal(list[eventView]{Data: []eventView{
			viewEvent(store.Event{ID: "evt_1"}), viewEvent(store.Event{ID: "evt_2", CreatedAt: c.at, StoredAt: c.at, ErasedAt: c.at}),
		}})
		require.NoError(t, err, c.at)
		require.Contains(t, string(b), `"created_at":"`+c.want+`","stored_at":"`+c.want+`"`)
		require.Contains(t, string(b), `"erased_at":"`+c.want+`"`)
		b, err = json.Marshal(viewRecovery(desk.Recovery{What: sender.Recovery{From: c.at, To: c.at}}))
		require.NoError(t, err, c.at)
		require.Contains(t, string(b), `"from":"`+c.want+`","to":"`+c.want+`"`)
	}
}
