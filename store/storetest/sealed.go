package storetest

import (
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

func sealedChecks() []check {
	return []check{
		{"Reseal", "values sealed anew take the place of the old ciphertexts and expired secrets are destroyed, while versions, history and everything else stay: to whoever can read the values nothing has happened", reseal},
		{"ResealOutlivesEdits", "a change made from an endpoint read before it was sealed anew does not bring the old ciphertext back: the key it was sealed under may be gone", resealOutlivesEdits},
		{"ResealRaces", "sealing anew beside edits and beside itself loses neither", resealRaces},
		{"SealedEndpoints", "all endpoints of all scopes that are not deleted come in pages, in order of Num: one that is left out keeps its old key for ever", sealedEndpoints},
		{"EndpointLimits", "what no sender would store is refused: a timeout out of range, header values without their names, two sealed values with one id", endpointLimits},
	}
}

// anew returns every value of the endpoint, sealed under another key.
func anew(ep store.Endpoint, kid string) store.Resealed {
	r := store.Resealed{EndpointKey: store.EndpointKey{Scope: ep.Scope, Num: ep.Num}}
	for _, v := range ep.SealedValues() {
		r.Values = append(r.Values, store.SealedValue{ID: v.ID, KeyID: kid, Sealed: []byte(kid + " " + v.ID)})
	}
	return r
}

// sealedAnew is what an endpoint holds after that.
func sealedAnew(ep store.Endpoint, kid string) store.Sealed {
	s := store.CloneSealed(ep.Sealed)
	for _, v := range s.SealedValues() {
		v.KeyID, v.Sealed = kid, []byte(kid+" "+v.ID)
	}
	return s
}

// keys returns the ids of the keys that the endpoint's values are sealed under.
func keys(ep store.Endpoint) (ids []string) {
	for _, v := range ep.SealedValues() {
		ids = append(ids, v.KeyID)
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// withHeader returns an endpoint to create that has a custom header.
func (w *world) withHeader() store.Endpoint {
	ep := w.newEndpoint()
	ep.Headers = []string{"X-Key"}
	ep.HeaderValues = []store.SealedHeader{{SealedValue: store.SealedValue{ID: "hdr_1", KeyID: "k1", Sealed: []byte{9}}, Name: "X-Key"}}
	return ep
}

func reseal(w *world) {
	in := w.withHeader()
	in.Secrets = append(in.Secrets, secret("sec_old", "k1", []byte{7}, "old"), secret("sec_older", "k1", []byte{8}, "older"))
	in.Secrets[1].ExpiresAt = w.now().Add(time.Minute).Truncate(time.Microsecond).UTC()
	in.Secrets[2].ExpiresAt = w.now().Add(time.Hour).Truncate(time.Microsecond).UTC()
	before := w.create(in)
	set := w.setVersion()
	w.advance(2 * time.Minute)

	fresh := anew(before, "k2")
	fresh.Values = append(fresh.Values, store.SealedValue{ID: "sec_unknown", KeyID: "k2", Sealed: []byte{1}})
	for i, want := range []int{1, 0} { // once more changes nothing
		if n, err := w.st.Reseal(w.ctx(), []store.Resealed{fresh}); err != nil || n != want {
			w.Errorf("Reseal, time %d: %d changed, error %v, want %d", i+1, n, err, want)
		}
	}
	want := before
	want.Sealed = sealedAnew(before, "k2")
	want.Secrets = slices.Delete(want.Secrets, 1, 2)
	if got := w.reload(before); !reflect.DeepEqual(got, want) {
		w.Errorf("after Reseal the endpoint reads\n%+v\nwant new ciphertexts, no expired secret and nothing else changed:\n%+v", got, want)
	}
	if w.setVersion() != set {
		w.Errorf("Reseal changed the set's version")
	}
	h, err := w.st.EndpointHistory(w.ctx(), w.scope, before.ID)
	w.must(err, "EndpointHistory")
	if len(h) != 1 {
		w.Errorf("Reseal left %d lines of history, want the first one only", len(h))
	}

	// What is not there, or not there any more, is passed over.
	foreign, gone := anew(before, "k3"), w.create(w.withHeader())
	foreign.Tenant += "2"
	w.setState(gone, store.Deleted)
	unknown := anew(before, "k3")
	unknown.Num = 1 << 40
	n, err := w.st.Reseal(w.ctx(), []store.Resealed{foreign, anew(gone, "k3"), unknown})
	if err != nil || n != 0 {
		w.Errorf("Reseal of endpoints of another scope, deleted and unknown: %d changed, error %v, want none", n, err)
	}
	if got := w.reload(before); !reflect.DeepEqual(got.Sealed, want.Sealed) {
		w.Errorf("Reseal in another scope changed %+v", got.Sealed)
	}
	if got := w.reload(gone); len(got.Secrets)+len(got.HeaderValues) != 0 {
		w.Errorf("a deleted endpoint has sealed values again: %+v", got.Sealed)
	}
	if n, err := w.st.Reseal(w.ctx(), nil); err != nil || n != 0 {
		w.Errorf("Reseal of nothing: %d, %v", n, err)
	}
}

func resealOutlivesEdits(w *world) {
	old := w.create(w.withHeader())
	if n, err := w.st.Reseal(w.ctx(), []store.Resealed{anew(old, "k2")}); err != nil || n != 1 {
		w.Fatalf("Reseal: %d changed, error %v, want 1", n, err)
	}
	edited := old // read before
	edited.Description = "edited"
	edited.Secrets = append([]store.SealedSecret{secret("sec_new", "k3", []byte("new"), "")}, old.Secrets...)
	got, err := w.st.UpdateEndpoint(w.ctx(), edited, store.ChangeParams{Action: store.Edited, Actor: "ann"})
	w.must(err, "UpdateEndpoint from the version before Reseal, which is still the current one")
	want := sealedAnew(old, "k2")
	want.Secrets = append([]store.SealedSecret{edited.Secrets[0]}, want.Secrets...)
	for _, got := range []store.Endpoint{got, w.reload(old)} {
		if !reflect.DeepEqual(got.Sealed, want) {
			w.Errorf("after the edit the sealed values are\n%+v\nwant\n%+v", got.Sealed, want)
		}
	}
	dropped := got
	dropped.Headers, dropped.HeaderValues, dropped.Secrets = nil, nil, got.Secrets[:1]
	got, err = w.st.UpdateEndpoint(w.ctx(), dropped, store.ChangeParams{Action: store.SecretRevoked, Actor: "ann"})
	w.must(err, "UpdateEndpoint that drops values")
	if read := w.reload(old); len(got.SealedValues()) != 1 || len(read.SealedValues()) != 1 {
		w.Errorf("values that an update leaves out are still there: %+v", got.Sealed)
	}
}

func resealRaces(w *world) {
	stores := []store.Store{w.st, w.another()}
	const n, rounds = 4, 5
	eps := make([]store.Endpoint, n)
	for i := range eps {
		eps[i] = w.create(w.withHeader())
	}
	fresh, backwards := make([]store.Resealed, n), make([]store.Resealed, n)
	for i := range eps {
		fresh[i] = anew(eps[i], "k2")
		backwards[n-1-i] = fresh[i]
	}
	parallel(2*n, func(i int) {
		st := stores[i%2]
		if i >= n {
			list := fresh
			if i%2 == 1 {
				list = backwards
			}
			for range rounds {
				if _, err := busy(func() (int, error) { return st.Reseal(w.ctx(), list) }); err != nil {
					w.Errorf("Reseal beside others: %v", err)
				}
			}
			return
		}
		ep := eps[i]
		for round := range rounds {
			ep.Description = fmt.Sprint(round)
			ep.Sealed = eps[i].Sealed // as it was before all of this
			got, err := busy(func() (store.Endpoint, error) {
				return st.UpdateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Edited})
			})
			if err != nil {
				w.Errorf("UpdateEndpoint beside Reseal: %v", err)
				return
			}
			ep = got
		}
	})
	for _, ep := range eps {
		if got := w.reload(ep); got.Version != 1+rounds || got.Description != fmt.Sprint(rounds-1) || !slices.Equal(keys(got), []string{"k2"}) {
			w.Errorf("after %d edits beside Reseal: version %d, description %q, sealed under %v, want version %d, the last description and k2",
				rounds, got.Version, got.Description, keys(got), 1+rounds)
		}
	}
}

func sealedEndpoints(w *world) {
	var want []int64
	scopes := append([]store.Scope{w.scope}, neighbours(w.scope)...)
	for i := range 9 {
		f := w.as(scopes[i%len(scopes)])
		ep := f.create(f.withHeader())
		switch i {
		case 3:
			f.setState(ep, store.Disabled)
		case 5:
			f.setState(ep, store.Deleted)
			continue
		}
		want = append(want, ep.Num)
	}
	for _, limit := range []int{1, 3, many} {
		var got []int64
		after := int64(0)
		for {
			page, err := w.st.SealedEndpoints(w.ctx(), after, limit)
			w.must(err, "SealedEndpoints")
			if len(page) > limit {
				w.Errorf("SealedEndpoints with limit %d returned %d", limit, len(page))
			}
			if len(page) == 0 {
				break
			}
			for _, ep := range page {
				got = append(got, ep.Num)
				if read := w.reload(ep); !reflect.DeepEqual(ep, read) {
					w.Errorf("SealedEndpoints' endpoint differs from Endpoint's:\ngot  %+v\nwant %+v", ep, read)
				}
			}
			after = page[len(page)-1].Num
		}
		if !slices.Equal(got, want) {
			w.Errorf("SealedEndpoints in pages of %d: numbers %v, want %v", limit, got, want)
		}
	}
	_, err := w.st.SealedEndpoints(w.ctx(), 0, 0)
	w.wantErr(err, store.ErrInvalid, "SealedEndpoints with limit 0")
}

func endpointLimits(w *world) {
	good := w.create(w.withHeader())
	set := w.setVersion()
	for name, spoil := range map[string]func(ep *store.Endpoint){
		"a negative timeout":            func(ep *store.Endpoint) { ep.Timeout = -1 },
		"a timeout too long":            func(ep *store.Endpoint) { ep.Timeout = store.MaxTimeout + 1 },
		"a header without a value":      func(ep *store.Endpoint) { ep.HeaderValues = nil },
		"a value without a header":      func(ep *store.Endpoint) { ep.Headers = nil },
		"a value for another header":    func(ep *store.Endpoint) { ep.Headers = []string{"X-Other"} },
		"two values with one id":        func(ep *store.Endpoint) { ep.Secrets[0].ID = ep.HeaderValues[0].ID },
		"a value without an id":         func(ep *store.Endpoint) { ep.Secrets[0].ID = "" },
		"a key id that is no text":      func(ep *store.Endpoint) { ep.Secrets[0].KeyID = "a\x00" },
		"an endpoint state that is not": func(ep *store.Endpoint) { ep.State = 4 },
	} {
		fresh, edited := w.withHeader(), w.reload(good)
		spoil(&fresh)
		spoil(&edited)
		_, err := w.st.CreateEndpoint(w.ctx(), fresh, store.ChangeParams{Action: store.Created, Actor: "ann"})
		w.wantErr(err, store.ErrInvalid, "CreateEndpoint with %s", name)
		_, err = w.st.UpdateEndpoint(w.ctx(), edited, store.ChangeParams{Action: store.Edited, Actor: "ann"})
		w.wantErr(err, store.ErrInvalid, "UpdateEndpoint with %s", name)
	}
	if got := w.reload(good); !reflect.DeepEqual(got, good) || w.setVersion() != set {
		w.Errorf("refused changes changed the endpoint to %+v", got)
	}
}
