package memory

// queue is a heap of deliveries, earliest first and by event among equals. Each
// delivery knows its place, so that it can be taken out of the middle.
type queue []queued

type queued struct {
	at    micros
	event int64
	d     *delivery
}

func (a queued) before(b queued) bool {
	return a.at < b.at || a.at == b.at && a.event < b.event
}

func (q *queue) push(at micros, d *delivery) {
	d.pos = len(*q)
	*q = append(*q, queued{at, d.event.Num, d})
	q.up(d.pos)
}

// remove takes out the element at place i.
func (q *queue) remove(i int) *delivery {
	h := *q
	d, last := h[i].d, len(h)-1
	if i != last {
		h[i] = h[last]
		h[i].d.pos = i
	}
	h[last] = queued{}
	*q = h[:last]
	switch {
	case i != last:
		if !q.down(i) {
			q.up(i)
		}
	case last == 0 && cap(h) > 1024:
		*q = nil // a backlog is worked off: give its room back
	}
	return d
}

func (q *queue) up(i int) {
	h := *q
	e := h[i]
	for i > 0 {
		p := (i - 1) / 2
		if !e.before(h[p]) {
			break
		}
		h[i] = h[p]
		h[i].d.pos = i
		i = p
	}
	h[i] = e
	e.d.pos = i
}

func (q *queue) down(i int) (moved bool) {
	h := *q
	e := h[i]
	for {
		c := 2*i + 1
		if c >= len(h) {
			break
		}
		if c+1 < len(h) && h[c+1].before(h[c]) {
			c++
		}
		if !h[c].before(e) {
			break
		}
		h[i] = h[c]
		h[i].d.pos = i
		i, moved = c, true
	}
	h[i] = e
	e.d.pos = i
	return moved
}
