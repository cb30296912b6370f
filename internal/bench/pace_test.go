package main

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestPaceDoesNotWaitForAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const n, interval = 10, 3 * time.Millisecond
		start := time.Now()
		called := make([]time.Duration, n)
		late, err := pace(t.Context(), interval, n, func(i int) error {
			called[i] = time.Since(start)
			time.Sleep(time.Second)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for i := range n {
			if want := time.Duration(i) * interval; called[i] != want || late[i] != 0 {
				t.Errorf("call %d was after %s, %s late, want %s", i, called[i], late[i], want)
			}
		}
	})
}

func TestPaceEndsAtTheFirstError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		var mu sync.Mutex
		var calls []int
		_, err := pace(t.Context(), time.Second, 10, func(i int) error {
			mu.Lock()
			defer mu.Unlock()
			if calls = append(calls, i); i == 2 {
				return broken
			}
			return nil
		})
		if !errors.Is(err, broken) || !slices.Equal(calls, []int{0, 1, 2}) {
			t.Errorf("calls %v ended with %v, want those up to the error", calls, err)
		}
	})
}
