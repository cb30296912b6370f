package sqlite_test

import (
	"context"
	"math/rand/v2"
	"path/filepath"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/internal/storemodel"
	"github.com/hookpost/hookpost/store/sqlite"
)

// Calls in an order of chance, of which some fail: callers give up, and another process
// keeps the file locked.
func TestModel(t *testing.T) {
	storemodel.Run(t, storemodel.Sequences(1, 10, 400), func(t *testing.T, _ uint64) storemodel.Subject {
		clock := newClock()
		path := filepath.Join(t.TempDir(), "hooks.db")
		st, err := sqlite.Open(t.Context(), "file:"+path+noSync, &sqlite.Options{Clock: clock.Now, BusyTimeout: 5 * time.Millisecond})
		require.NoError(t, err)
		t.Cleanup(func() { require.NoError(t, st.Close()) })
		db := openApp(t, path)
		return storemodel.Subject{
			Store:    st,
			SetClock: clock.Set,
			Begin: func() (storemodel.Tx, error) {
				tx := begin(t, db, st)
				return storemodel.Tx(tx), nil
			},
			Faults: []storemodel.Fault{
				storemodel.FailBefore(), storemodel.LoseAnswer(), storemodel.GiveUp(time.Millisecond),
				{Name: "locked", Do: func(ctx context.Context, r *rand.Rand, call func(context.Context) error) error {
					tx := begin(t, db, st)
					defer func() { require.NoError(t, tx.Rollback()) }()
					return call(ctx)
				}},
			},
		}
	})
}
