package main

// throughputSeries are the central tests: what is sent without a queue, and what the
// engines and River drain and pass.
func throughputSeries(cfg *config, db *database) *series {
	s := &series{name: "Throughput", runs: cfg.runs, print: printThroughput, legend: throughputLegend}
	drainCeiling, liveCeiling := s.ceilingAt(cfg, cfg.drainConcurrency()), s.ceilingAt(cfg, callers)
	for _, e := range engines(db) {
		n := e.events(cfg)
		drain := s.add(&test{name: drainName(e.name), n: n, do: e.drain, db: e.db})
		live := s.add(&test{name: liveName(e.name, callers), n: n, do: e.live(callers), db: e.db})
		if !e.network {
			drain.n, live.n = 5*cfg.n, 5*cfg.n // the start is a small part of this
			continue
		}
		drain.ceiling, live.ceiling = drainCeiling, liveCeiling
		if !e.durable {
			continue
		}
		unwaited := s.add(&test{name: unwaitedName(e.name), n: n, do: e.unwaited, db: e.db, ceiling: liveCeiling})
		if e.db == nil {
			continue
		}
		river := func(name string, n int, do measureFunc, ceiling *test) []*test {
			return []*test{s.add(&test{name: name, n: n, do: do, db: db, ceiling: ceiling})}
		}
		drain.rivals = river(drainName(riverName), cfg.n/2, riverDrain, drainCeiling)
		live.rivals = river(liveName(riverName, callers), cfg.n/4, riverLive, liveCeiling)
		unwaited.rivals = river(unwaitedName(riverName), cfg.n/4, riverUnwaited, liveCeiling)
	}
	return s
}

// events is how many one run of the engine's central tests has.
func (e engine) events(cfg *config) int {
	if e.db != nil {
		return cfg.onServer
	}
	return cfg.n
}

// drainConcurrency is how many requests there are at once in a drain: one endpoint
// gets at most half of the slots.
func (c *config) drainConcurrency() int {
	return min(c.inFlight, c.endpoints*max(1, c.inFlight/2))
}

func drainName(engine string) string { return engine + ": drain" }

// callersSeries are the live tests with fewer and more callers.
func callersSeries(cfg *config, db *database) *series {
	s := &series{name: "Callers", runs: cfg.rest, print: printThroughput}
	for _, c := range []struct{ callers, part int }{{1, 12}, {16, 2}, {256, 1}} {
		ceiling := s.ceilingAt(cfg, c.callers)
		for _, e := range engines(db) {
			if e.network {
				s.add(&test{name: liveName(e.name, c.callers), n: e.events(cfg) / c.part, do: e.live(c.callers), db: e.db, ceiling: ceiling})
			}
		}
	}
	return s
}
