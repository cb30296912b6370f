package storetest

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/hookpost/hookpost/store"
)

func endpointChecks() []check {
	return []check{
		{"EndpointRoundTrip", "an endpoint is kept as it was given: configuration, secrets byte for byte, times in UTC; number, version and health are the store's", endpointRoundTrip},
		{"EndpointVersions", "every change raises the endpoint's version by one and its set's version, and counts only on the version it was made from: two people's edits never overwrite each other unseen", endpointVersions},
		{"EndpointURLs", "one endpoint per URL key in a scope, byte for byte: a disabled endpoint keeps its URL, a deleted one frees it", endpointURLs},
		{"EndpointDelete", "deleting destroys the secrets and is final; the record and its history stay readable", endpointDelete},
		{"EndpointHistory", "each change leaves one line that says who did what when, with the values before and after and the versions after it", endpointHistory},
		{"EndpointLists", "pages of endpoints come in order of Num, without gaps or doubles; the set holds the enabled ones", endpointLists},
		{"EndpointRaces", "of concurrent changes made from one version exactly one counts, and of concurrent creations with one URL exactly one succeeds", endpointRaces},
	}
}

// sameConfig compares configurations by their JSON, to which nil and empty are
// the same where the fields say omitempty.
func sameConfig(a, b store.Config) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

func endpointRoundTrip(w *world) {
	ep := w.newEndpoint()
	ep.Config = store.Config{
		URL: "https://example.com/päth?q='\"\\", EventTypes: []string{"payment.*", "push"}, State: store.Disabled, Reason: "imported",
		Schedule: "fast", Schemes: []string{"standard", "timestamped"}, Timeout: store.MaxTimeout, Headers: []string{"Authorization", "X-Tenant"},
		Description: "käse 世界", Metadata: map[string]string{"a": "1", "": "x", "ü": ""},
	}
	ep.URLKey = "https://example.com/p%C3%A4th"
	ep.Secrets = []store.SealedSecret{
		secret("sec_2", "k2", []byte{0, 255, 10, '\''}, "f2"),
		secret("sec_1", "k1", []byte{1}, "f1"),
	}
	ep.Secrets[1].ExpiresAt = time.Date(2030, 1, 2, 3, 4, 5, 6000, time.UTC)
	ep.HeaderValues = []store.SealedHeader{
		{SealedValue: store.SealedValue{ID: "hdr_1", KeyID: "k2", Sealed: []byte{2, 0, 255}}, Name: "Authorization"},
		{SealedValue: store.SealedValue{ID: "hdr_2", KeyID: "k1", Sealed: []byte{3}}, Name: "X-Tenant"},
	}
	// What is the store's is not taken from the caller.
	ep.Num, ep.Version, ep.CreatedAt, ep.EnabledAt = 99, 99, time.Unix(1, 0), time.Unix(1, 0)
	ep.Health = store.Health{Failures: 9, FailingSince: time.Unix(1, 0), HoldUntil: time.Unix(1<<33, 0), LastSuccess: time.Unix(1, 0)}
	want := ep
	want.Sealed = store.CloneSealed(ep.Sealed)
	want.EventTypes = slices.Clone(ep.EventTypes)

	from := w.now()
	created, err := w.st.CreateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Imported, Actor: "ann"})
	w.must(err, "CreateEndpoint")
	to := w.now()
	ep.Secrets[0].Sealed[0] = 'x' // byte slices handed in are not kept
	ep.EventTypes[0] = "changed"

	read := w.reload(created)
	for _, c := range []struct {
		from string
		got  store.Endpoint
	}{{"CreateEndpoint", created}, {"Endpoint", read}} {
		got := c.got
		if got.ID != want.ID || got.Scope != want.Scope || got.URLKey != want.URLKey || !sameConfig(got.Config, want.Config) {
			w.Errorf("%s differs from what was given:\ngot  %+v\nwant %+v", c.from, got, want)
		}
		if !reflect.DeepEqual(got.Sealed, want.Sealed) {
			w.Errorf("%s: sealed values %+v, want %+v", c.from, got.Sealed, want.Sealed)
		}
		if got.Num <= 0 || got.Version != 1 || got.Health != (store.Health{}) || !got.EnabledAt.IsZero() {
			w.Errorf("%s: number %d, version %d, health %+v, enabled at %v, want the store's own: positive, 1, healthy, never enabled",
				c.from, got.Num, got.Version, got.Health, got.EnabledAt)
		}
		w.between(c.from+": CreatedAt", got.CreatedAt, from, to)
		w.between(c.from+": ChangedAt", got.ChangedAt, from, to)
	}

	second := w.endpoint()
	if second.Num == created.Num {
		w.Errorf("two endpoints have the number %d", second.Num)
	}
	for i := range read.Secrets[0].Sealed {
		read.Secrets[0].Sealed[i] = 0 // slices handed out belong to the caller
	}
	if got := w.reload(created); !reflect.DeepEqual(got.Sealed, want.Sealed) {
		w.Errorf("changing what Endpoint returned changed what is stored")
	}
	_, err = w.st.Endpoint(w.ctx(), w.scope, "ep_unknown")
	w.wantErr(err, store.ErrNotFound, "Endpoint of an unknown id")
}

func endpointVersions(w *world) {
	if v := w.setVersion(); v != 0 {
		w.Errorf("EndpointSet.Version is %d before there ever was an endpoint, want 0", v)
	}
	ep := w.endpoint()
	last := w.setVersion()
	if last <= 0 {
		w.Errorf("EndpointSet.Version is %d after the first endpoint was created, want more", last)
	}
	w.advance(time.Minute)
	cur := ep
	for i, change := range []func(e *store.Endpoint){
		func(e *store.Endpoint) { e.Description = "x" },
		func(e *store.Endpoint) { e.URL, e.URLKey = "https://b.example.com/", "https://b.example.com/" },
		func(e *store.Endpoint) { e.EventTypes = []string{"a", "b.*"} },
		func(e *store.Endpoint) {
			e.Secrets = append([]store.SealedSecret{secret("new", "k1", []byte("n"), "")}, e.Secrets...)
		},
		func(e *store.Endpoint) { e.State, e.Reason = store.Disabled, "by hand" },
		func(e *store.Endpoint) { e.State, e.Reason = store.Enabled, "" },
	} {
		next := cur
		change(&next)
		from := w.now()
		got, err := w.st.UpdateEndpoint(w.ctx(), next, store.ChangeParams{Action: store.Edited, Actor: "ann"})
		w.must(err, "UpdateEndpoint, change %d", i)
		if got.Version != cur.Version+1 || got.Num != ep.Num || !got.CreatedAt.Equal(ep.CreatedAt) {
			w.Errorf("change %d: version %d, number %d, created at %v, want version %d and the rest as it was", i, got.Version, got.Num, got.CreatedAt, cur.Version+1)
		}
		if !sameConfig(got.Config, next.Config) || got.URLKey != next.URLKey || !reflect.DeepEqual(got.Secrets, next.Secrets) {
			w.Errorf("change %d: got %+v, want %+v", i, got, next)
		}
		w.between("ChangedAt", got.ChangedAt, from, w.now())
		if read := w.reload(ep); !sameConfig(read.Config, next.Config) || read.Version != got.Version || !reflect.DeepEqual(read.Secrets, next.Secrets) {
			w.Errorf("change %d: read back %+v, want %+v", i, read, got)
		}
		v := w.setVersion()
		if v <= last {
			w.Errorf("change %d: the set's version went from %d to %d, want it to grow", i, last, v)
		}
		_, err = w.st.UpdateEndpoint(w.ctx(), cur, store.ChangeParams{Action: store.Edited, Actor: "bob"})
		w.wantErr(err, store.ErrChanged, "change %d: UpdateEndpoint from the version before", i)
		if w.setVersion() != v {
			w.Errorf("change %d: a refused update changed the set's version", i)
		}
		last, cur = v, got
	}
	if cur.EnabledAt.IsZero() {
		w.Errorf("EnabledAt is zero after the endpoint was enabled again")
	}
	unknown := cur
	unknown.ID = "ep_unknown"
	_, err := w.st.UpdateEndpoint(w.ctx(), unknown, store.ChangeParams{Action: store.Edited, Actor: "ann"})
	w.wantErr(err, store.ErrNotFound, "UpdateEndpoint of an unknown id")
}

func endpointURLs(w *world) {
	a, b := w.endpoint(), w.endpoint()
	withKey := func(key string) store.Endpoint {
		ep := w.newEndpoint()
		ep.URLKey = key
		return ep
	}
	refused := func(why string) {
		w.Helper()
		set := w.setVersion()
		ep := withKey(a.URLKey)
		_, err := w.st.CreateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Created, Actor: "ann"})
		w.wantErr(err, store.ErrDuplicateURL, "CreateEndpoint with the URL key of an endpoint that is %s", why)
		_, err = w.st.Endpoint(w.ctx(), w.scope, ep.ID)
		w.wantErr(err, store.ErrNotFound, "Endpoint whose creation was refused")
		mine := w.reload(b)
		mine.URLKey = a.URLKey
		_, err = w.st.UpdateEndpoint(w.ctx(), mine, store.ChangeParams{Action: store.Edited, Actor: "ann"})
		w.wantErr(err, store.ErrDuplicateURL, "UpdateEndpoint to the URL key of an endpoint that is %s", why)
		if got := w.reload(b); got.URLKey != b.URLKey {
			w.Errorf("a refused update changed the URL key")
		}
		if w.setVersion() != set {
			w.Errorf("refused changes changed the set's version")
		}
	}
	refused("enabled")
	w.setState(a, store.Disabled)
	refused("disabled")

	same := w.reload(a)
	same.Description = "keeps its own URL"
	_, err := w.st.UpdateEndpoint(w.ctx(), same, store.ChangeParams{Action: store.Edited, Actor: "ann"})
	w.must(err, "UpdateEndpoint that keeps the URL")

	w.setState(a, store.Deleted)
	c := w.create(withKey(a.URLKey))

	// The URL that an edit gives up is free as well.
	moved := w.reload(c)
	moved.URLKey = "https://elsewhere.example.com/"
	_, err = w.st.UpdateEndpoint(w.ctx(), moved, store.ChangeParams{Action: store.Edited, Actor: "ann"})
	w.must(err, "UpdateEndpoint to a new URL")
	w.create(withKey(a.URLKey))

	// Keys are compared byte for byte: no collation makes two of them one.
	for i, path := range []string{
		"", "a", "A", "a/", "a//", "a%2Fb", "a%2fb", "a/b", "a%20b", "a+b", "a%2Bb", "a?", "a?b", "a%3Fb", "a%C3%A9", "a%c3%a9", "ae%CC%81", "ae",
		"a_b", "a%25b", "a-b", "a;b", "a;b?", "\x7e", "%7E",
	} {
		ep := withKey(a.URLKey + "/keys/" + path)
		created, err := w.st.CreateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Created, Actor: "ann"})
		w.must(err, "CreateEndpoint with the URL key %q, number %d of keys that differ", ep.URLKey, i)
		if created.URLKey != ep.URLKey {
			w.Errorf("the URL key %q became %q", ep.URLKey, created.URLKey)
		}
		_, err = w.st.CreateEndpoint(w.ctx(), withKey(ep.URLKey), store.ChangeParams{Action: store.Created, Actor: "ann"})
		w.wantErr(err, store.ErrDuplicateURL, "CreateEndpoint with the URL key %q again", ep.URLKey)
	}

	other := w.as(store.Scope{Tenant: w.scope.Tenant, Mode: store.Live})
	ep := other.newEndpoint()
	ep.URLKey = a.URLKey
	other.create(ep)
}

func endpointDelete(w *world) {
	ep := w.endpoint()
	del := ep
	del.State = store.Deleted
	got, err := w.st.UpdateEndpoint(w.ctx(), del, store.ChangeParams{Action: store.WasDeleted, Actor: "ann"})
	w.must(err, "UpdateEndpoint to deleted")
	for _, got := range []store.Endpoint{got, w.reload(ep)} {
		if got.State != store.Deleted || len(got.SealedValues()) != 0 || got.Version != 2 {
			w.Errorf("deleted endpoint reads %+v, want it deleted in version 2 without secrets, though they were handed in", got)
		}
		if got.URL != ep.URL {
			w.Errorf("deleted endpoint's URL is %q, want %q: the record stays readable", got.URL, ep.URL)
		}
	}
	for _, s := range []store.EndpointState{store.Enabled, store.Disabled, store.Deleted} {
		again := got
		again.State = s
		_, err = w.st.UpdateEndpoint(w.ctx(), again, store.ChangeParams{Action: store.Edited, Actor: "ann"})
		w.wantErr(err, store.ErrDeleted, "UpdateEndpoint of a deleted endpoint to %v", s)
	}
	h, err := w.st.EndpointHistory(w.ctx(), w.scope, ep.ID)
	w.must(err, "EndpointHistory of a deleted endpoint")
	if len(h) != 2 || h[1].Action != store.WasDeleted || h[1].New.State != store.Deleted {
		w.Errorf("history of a deleted endpoint: %+v, want it created and deleted", h)
	}
	set, err := w.st.EndpointSet(w.ctx(), w.scope)
	w.must(err, "EndpointSet")
	if len(set.Endpoints) != 0 || set.Version == 0 {
		w.Errorf("EndpointSet after the only endpoint was deleted: %+v, want nothing in it and a version above 0", set)
	}
}

func endpointHistory(w *world) {
	ep := w.newEndpoint()
	ep.Metadata = map[string]string{"k": "v"}
	var sets []int64
	var times []time.Time
	tick := func() {
		sets = append(sets, w.setVersion())
		times = append(times, w.now())
		w.advance(time.Minute)
	}
	cur, err := w.st.CreateEndpoint(w.ctx(), ep, store.ChangeParams{Action: store.Imported, Actor: "ann"})
	w.must(err, "CreateEndpoint")
	configs := []store.Config{{}, cur.Config}
	tick()
	steps := []struct {
		action store.Action
		actor  string
		change func(e *store.Endpoint)
	}{
		{store.Edited, "bob", func(e *store.Endpoint) { e.EventTypes = []string{"push"} }},
		{store.SecretRotated, "", func(e *store.Endpoint) { e.Secrets = []store.SealedSecret{secret("n", "k1", []byte("n"), "")} }},
		{store.WasDisabled, "käthe", func(e *store.Endpoint) { e.State, e.Reason = store.Disabled, "why" }},
		{store.WasEnabled, "ann", func(e *store.Endpoint) { e.State, e.Reason = store.Enabled, "" }},
		{store.WasDeleted, "ann", func(e *store.Endpoint) { e.State = store.Deleted }},
	}
	for _, s := range steps {
		next := cur
		s.change(&next)
		cur, err = w.st.UpdateEndpoint(w.ctx(), next, store.ChangeParams{Action: s.action, Actor: s.actor})
		w.must(err, "UpdateEndpoint %s", s.action)
		configs = append(configs, next.Config)
		w.endpoint() // others have a history of their own
		sets = append(sets, 0)
		times = append(times, w.now())
		w.advance(time.Minute)
	}
	h, err := w.st.EndpointHistory(w.ctx(), w.scope, ep.ID)
	w.must(err, "EndpointHistory")
	if len(h) != len(steps)+1 {
		w.Fatalf("history has %d lines, want %d, one per change: %+v", len(h), len(steps)+1, h)
	}
	for i, c := range h {
		action, actor := store.Imported, "ann"
		if i > 0 {
			action, actor = steps[i-1].action, steps[i-1].actor
		}
		if c.EndpointID != ep.ID || c.Action != action || c.Actor != actor || c.Version != int64(i+1) {
			w.Errorf("line %d: %s %q by %q, version %d, want %s %q by %q, version %d", i, c.EndpointID, c.Action, c.Actor, c.Version, ep.ID, action, actor, i+1)
		}
		if !sameConfig(c.Old, configs[i]) || !sameConfig(c.New, configs[i+1]) {
			w.Errorf("line %d: values before and after are\n%+v\n%+v\nwant\n%+v\n%+v", i, c.Old, c.New, configs[i], configs[i+1])
		}
		if i > 0 && c.SetVersion <= h[i-1].SetVersion {
			w.Errorf("line %d: set version %d after %d, want it to grow", i, c.SetVersion, h[i-1].SetVersion)
		}
		if sets[i] != 0 && c.SetVersion != sets[i] {
			w.Errorf("line %d: set version %d, want %d, which EndpointSet said after the change", i, c.SetVersion, sets[i])
		}
		w.between(fmt.Sprintf("line %d: At", i), c.At, times[i].Add(-time.Minute), times[i])
	}
	_, err = w.st.EndpointHistory(w.ctx(), w.scope, "ep_unknown")
	w.wantErr(err, store.ErrNotFound, "EndpointHistory of an unknown id")
}

func endpointLists(w *world) {
	eps := w.endpoints(9)
	w.setState(eps[2], store.Disabled)
	w.setState(eps[5], store.Deleted)
	w.setState(eps[7], store.Disabled)
	nums := func(list []store.Endpoint) []int64 {
		ns := []int64{}
		for _, e := range list {
			ns = append(ns, e.Num)
		}
		return ns
	}
	pick := func(is ...int) []int64 {
		ns := []int64{}
		for _, i := range is {
			ns = append(ns, eps[i].Num)
		}
		slices.Sort(ns)
		return ns
	}
	for _, c := range []struct {
		name   string
		states []store.EndpointState
		want   []int64
	}{
		{"no states", nil, pick(0, 1, 2, 3, 4, 6, 7, 8)},
		{"enabled", []store.EndpointState{store.Enabled}, pick(0, 1, 3, 4, 6, 8)},
		{"disabled", []store.EndpointState{store.Disabled}, pick(2, 7)},
		{"deleted and disabled", []store.EndpointState{store.Deleted, store.Disabled}, pick(2, 5, 7)},
	} {
		for _, limit := range []int{0, 1, 3, 5000} {
			var got []int64
			q := store.EndpointQuery{States: c.states, Limit: limit}
			for range 20 {
				page, err := w.st.ListEndpoints(w.ctx(), w.scope, q)
				w.must(err, "ListEndpoints")
				if limit > 0 && len(page) > limit {
					w.Errorf("ListEndpoints with Limit %d returned %d", limit, len(page))
				}
				if len(page) == 0 {
					break
				}
				got = append(got, nums(page)...)
				q.After = page[len(page)-1].Num
			}
			if !slices.Equal(got, c.want) {
				w.Errorf("ListEndpoints, %s, pages of %d: numbers %v, want %v", c.name, limit, got, c.want)
			}
		}
	}
	set, err := w.st.EndpointSet(w.ctx(), w.scope)
	w.must(err, "EndpointSet")
	if got, want := nums(set.Endpoints), pick(0, 1, 3, 4, 6, 8); !slices.Equal(got, want) {
		w.Errorf("EndpointSet holds %v, want the enabled ones in order of Num, %v", got, want)
	}
	for _, e := range set.Endpoints {
		if want := w.reload(e); !reflect.DeepEqual(e, want) {
			w.Errorf("EndpointSet's endpoint differs from Endpoint's:\ngot  %+v\nwant %+v", e, want)
		}
	}
	keys := []store.EndpointKey{{Scope: w.scope, Num: eps[5].Num}, {Scope: w.scope, Num: 1 << 40}, {Scope: w.scope, Num: eps[0].Num}, {Scope: w.scope, Num: eps[2].Num}}
	loaded, err := w.st.LoadEndpoints(w.ctx(), keys)
	w.must(err, "LoadEndpoints")
	slices.SortFunc(loaded, func(a, b store.Endpoint) int { return int(a.Num - b.Num) })
	if got, want := nums(loaded), pick(0, 2, 5); !slices.Equal(got, want) {
		w.Errorf("LoadEndpoints returned %v, want those that exist, deleted ones included, %v", got, want)
	}
	for _, e := range loaded {
		if want := w.reload(e); !reflect.DeepEqual(e, want) {
			w.Errorf("LoadEndpoints' endpoint differs from Endpoint's:\ngot  %+v\nwant %+v", e, want)
		}
	}
	if none, err := w.st.LoadEndpoints(w.ctx(), nil); err != nil || len(none) != 0 {
		w.Errorf("LoadEndpoints of nothing returned %v, %v", none, err)
	}
}

func endpointRaces(w *world) {
	stores := []store.Store{w.st, w.another()}
	ep := w.endpoint()
	const n = 8
	for range 3 {
		ep = w.reload(ep)
		errs := make([]error, n)
		parallel(n, func(i int) {
			mine := ep
			mine.Description = fmt.Sprint(i)
			_, errs[i] = busy(func() (store.Endpoint, error) {
				return stores[i%2].UpdateEndpoint(w.ctx(), mine, store.ChangeParams{Action: store.Edited})
			})
		})
		won := 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				w.wantErr(err, store.ErrChanged, "UpdateEndpoint beside others from the same version")
			}
		}
		if won != 1 || w.reload(ep).Version != ep.Version+1 {
			w.Errorf("%d of %d updates from version %d succeeded, the version is now %d, want one and %d", won, n, ep.Version, w.reload(ep).Version, ep.Version+1)
		}

		fresh := make([]store.Endpoint, n)
		key := w.newEndpoint().URLKey
		for i := range fresh {
			fresh[i] = w.newEndpoint()
			fresh[i].URLKey = key
		}
		parallel(n, func(i int) {
			_, errs[i] = busy(func() (store.Endpoint, error) {
				return stores[i%2].CreateEndpoint(w.ctx(), fresh[i], store.ChangeParams{Action: store.Created})
			})
		})
		won = 0
		for _, err := range errs {
			if err == nil {
				won++
			} else {
				w.wantErr(err, store.ErrDuplicateURL, "CreateEndpoint beside others with the same URL")
			}
		}
		if won != 1 {
			w.Errorf("%d of %d creations with one URL succeeded, want 1", won, n)
		}
	}
}
