package retry_test

import (
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/hookpost/hookpost/retry"
)

func ExampleSteps() {
	s := retry.Steps(10*time.Second, time.Minute, time.Hour)
	for failed := 1; ; failed++ {
		delay, ok := s.Next(retry.Failure{Failed: failed})
		if !ok {
			fmt.Println("no further attempt")
			break
		}
		fmt.Println("retry in", delay)
	}
	// Output:
	// retry in 10s
	// retry in 1m0s
	// retry in 1h0m0s
	// no further attempt
}

func ExampleStepSchedule_Repeat() {
	s := retry.Steps(time.Minute, time.Hour).Repeat()
	fmt.Println(s.Next(retry.Failure{Failed: 1}))
	fmt.Println(s.Next(retry.Failure{Failed: 100}))
	// Output:
	// 1m0s true
	// 1h0m0s true
}

func ExampleExponential() {
	s := retry.Exponential(30*time.Second, 4, time.Hour)
	for failed := range 6 {
		delay, _ := s.Next(retry.Failure{Failed: failed + 1})
		fmt.Print(delay, " ")
	}
	// Output: 30s 2m0s 8m0s 32m0s 1h0m0s 1h0m0s
}

func ExampleJitter() {
	s := retry.Jitter(retry.Default, 0.1)
	delay, _ := s.Next(retry.Failure{Failed: 1, Seed: 42})
	again, _ := s.Next(retry.Failure{Failed: 1, Seed: 42})
	fmt.Println(delay >= 5*time.Minute, delay <= 5*time.Minute+30*time.Second, delay == again)
	// Output: true true true
}

func ExampleFromBackOff() {
	s := retry.FromBackOff(func() backoff.BackOff {
		return backoff.NewExponentialBackOff(
			backoff.WithInitialInterval(time.Minute),
			backoff.WithMultiplier(3),
			backoff.WithMaxInterval(time.Hour),
			backoff.WithRandomizationFactor(0),
		)
	})
	delay, ok := s.Next(retry.Failure{Failed: 3})
	fmt.Println(delay, ok)
	// Output: 9m0s true
}

func ExampleExhausted() {
	// The schedule wants an attempt ten hours after one that ended in the 68th.
	fmt.Println(retry.Exhausted(68*time.Hour, 10*time.Hour, retry.GiveUpAfter))
	fmt.Println(retry.Exhausted(57*time.Hour, 10*time.Hour, retry.GiveUpAfter))
	// Output:
	// true
	// false
}

// endOn4xx gives up when a receiver has refused an event three times.
type endOn4xx struct{ retry.Schedule }

func (s endOn4xx) Next(f retry.Failure) (delay time.Duration, ok bool) {
	switch {
	case f.Status == 408, f.Status == 425, f.Status == 429: // they ask to come again
	case f.Status >= 400 && f.Status <= 499 && f.Failed >= 3:
		return 0, false
	}
	return s.Schedule.Next(f)
}

// Answers of 4xx are retried as others are, unless a schedule ends them.
func ExampleSchedule() {
	s := endOn4xx{retry.Default}
	fmt.Println(s.Next(retry.Failure{Failed: 1, Status: 404}))
	fmt.Println(s.Next(retry.Failure{Failed: 3, Status: 404}))
	fmt.Println(s.Next(retry.Failure{Failed: 3, Status: 429}))
	fmt.Println(s.Next(retry.Failure{Failed: 3, Status: 500}))
	// Output:
	// 5m0s true
	// 0s false
	// 2h0m0s true
	// 2h0m0s true
}
