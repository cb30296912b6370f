package sender

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
	"github.com/hookpost/hookpost/store/keyring"
)

const (
	resealStep   = 100                   // endpoints
	resealBreath = 50 * time.Millisecond // between steps
	resealPause  = time.Minute           // after trouble
	resealEvery  = time.Hour
	// resealFailures is after how many endpoints in a row the keyring is taken to be
	// away. One whose value it can't cope with does not stop the others.
	resealFailures = 3
)

// SealedUnder says how many signing secrets and header values are sealed under
// which key of the keyring, in the whole store: all tenants, both modes. A Sender
// that is started seals them anew, in the background, under the key that its
// Keyring seals with; when no other id is left, the other keys can be dropped. That
// counts once every process has the new key first: one with the old order still
// seals under the old key.
func (s *Sender) SealedUnder(ctx context.Context) (map[string]int, error) {
	const page = 1000
	counts := make(map[string]int)
	for after := int64(0); ; {
		eps, err := s.st.SealedEndpoints(ctx, after, page)
		if err != nil {
			return nil, err
		}
		for i := range eps {
			for _, v := range eps[i].SealedValues() {
				counts[v.KeyID]++
			}
		}
		if len(eps) < page {
			return counts, nil
		}
		after = eps[len(eps)-1].Num
	}
}

// resealLoop goes through all endpoints, again and again, and seals anew what is
// sealed under another key than the keyring seals with now; secrets that have
// expired are destroyed on the way. It runs beside the rest of the upkeep, since a
// keyring may ask a service and nothing else should wait for that.
func (s *Sender) resealLoop(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	var after int64
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		limited, cancel := context.WithTimeout(ctx, upkeepTimeout)
		if after == 0 {
			s.checkKeyring(limited)
		}
		last, err := s.reseal(limited, after)
		cancel()
		after = last
		wait := resealBreath
		switch {
		case err != nil:
			wait = resealPause
			if ctx.Err() == nil && !errors.Is(err, store.ErrBusy) {
				s.trouble.report("hookpost: secrets can't be sealed anew; it will be tried again", err)
			}
		case last == 0:
			wait = resealEvery - rand.N(resealEvery/10)
		}
		timer.Reset(wait)
	}
}

// reseal does one step: a page of endpoints after the given one. It returns the
// endpoint to go on after, 0 when all are done. Values that can't be opened stay as
// they are.
func (s *Sender) reseal(ctx context.Context, after int64) (last int64, err error) {
	page, err := s.st.SealedEndpoints(ctx, after, resealStep)
	if err != nil || len(page) == 0 {
		return 0, err
	}
	now, err := s.st.Now(ctx)
	if err != nil {
		return after, err
	}
	current, err := s.currentKey()
	if err != nil {
		return after, err
	}
	var list []store.Resealed
	var away error // of the keyring's service, say
	failed := 0    // endpoints in a row
	last = after
	for i := range page {
		r, err := s.sealAnew(&page[i], current, now)
		if len(r.Values) > 0 || hasExpired(&page[i], now) {
			list = append(list, r)
		}
		if err != nil && !errors.Is(err, keyring.ErrUnknownKey) && !errors.Is(err, keyring.ErrOpen) {
			away = err
			if failed++; failed == resealFailures {
				break
			}
			continue
		}
		if err != nil {
			s.trouble.report("hookpost: an endpoint can't be sent to", err, "endpoint", page[i].ID)
		}
		last, away, failed = page[i].Num, nil, 0
	}
	if len(list) > 0 {
		if _, err := s.st.Reseal(ctx, list); err != nil {
			return after, err
		}
	}
	if away == nil && len(page) < resealStep {
		last = 0
	}
	return last, away
}

// Bounds of checkKeyring.
const (
	sampleStep  = 4  // endpoints in a step
	sampleSteps = 63 // the numbers of endpoints double from step to step
)

// checkKeyring logs an error if the keyring opens nothing of what is stored, as with the
// keys of another database. It looks at endpoints until one opens, which the first one
// does nearly always, and at a few of every age at most, however many there are.
func (s *Sender) checkKeyring(ctx context.Context) {
	now := s.clock.at(time.Now())
	under := make(map[string]bool)
	looked := 0
	var failed error
	after := int64(0)
	for range sampleSteps {
		page, err := s.st.SealedEndpoints(ctx, after, sampleStep)
		if err != nil {
			return // resealing tells
		}
		for i := range page {
			kid, err := s.lockedKey(&page[i], now)
			if !errors.Is(err, keyring.ErrUnknownKey) && !errors.Is(err, keyring.ErrOpen) {
				return // it opens, or the keyring can't be asked now
			}
			under[kid], failed = true, err
			looked++
		}
		if len(page) < sampleStep {
			break
		}
		after = 2 * page[len(page)-1].Num
	}
	if looked > 0 {
		s.log.Error("hookpost: the keyring opens no endpoint that was looked at; nothing can be sent to them",
			"endpoints", looked, "sealed_under", slices.Sorted(maps.Keys(under)), "error", failed)
	}
}

// currentKey returns the id of the key that the keyring seals with.
func (s *Sender) currentKey() (kid string, err error) {
	defer keyringPanics(&err)
	kid, _, err = s.cfg.Keyring.Seal(nil, nil, nil)
	if err != nil {
		return "", fmt.Errorf("sender: sealing: %w", err)
	}
	return kid, nil
}

// sealAnew returns the values of an endpoint that are not sealed under the current
// key, sealed under it. One that can't be opened makes an error and is left out.
func (s *Sender) sealAnew(ep *store.Endpoint, current string, now time.Time) (r store.Resealed, err error) {
	defer keyringPanics(&err)
	r.EndpointKey = store.EndpointKey{Scope: ep.Scope, Num: ep.Num}
	var lost error
	for v, bound := range sealedValues(ep, now) {
		if v.KeyID == current {
			continue
		}
		plain, err := s.cfg.Keyring.Open(nil, v.KeyID, v.Sealed, bound)
		if err != nil {
			lost = fmt.Errorf("sender: opening a secret of %s: %w", ep.ID, err)
			continue
		}
		fresh := store.SealedValue{ID: v.ID}
		fresh.KeyID, fresh.Sealed, err = s.cfg.Keyring.Seal(nil, plain, bound)
		clear(plain)
		if err != nil {
			return r, fmt.Errorf("sender: sealing the secrets of %s anew: %w", ep.ID, err)
		}
		r.Values = append(r.Values, fresh)
	}
	return r, lost
}

// keyringPanics makes an error of a panic of the application's keyring. It does not
// repeat what that says, which might be a key.
func keyringPanics(err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("sender: the keyring panicked: %s", panicText(p))
	}
}

// hasExpired reports whether a secret of the endpoint has expired at now.
func hasExpired(ep *store.Endpoint, now time.Time) bool {
	return slices.ContainsFunc(ep.Secrets, func(s store.SealedSecret) bool { return expired(&s, now) })
}
