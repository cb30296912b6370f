package memory

import (
	"cmp"
	"math"
	"slices"
)

// answer says that attempt n of a delivery has a header or body of an answer in the
// log.
type answer struct {
	at micros // when the attempt began
	d  *delivery
	n  int
}

// answers holds them in order of time.
type answers []answer

const noneOlder = micros(math.MinInt64)

func (as *answers) add(a answer) {
	i := len(*as)
	if i > 0 && (*as)[i-1].at > a.at {
		i, _ = slices.BinarySearchFunc(*as, a.at, func(b answer, at micros) int { return cmp.Compare(b.at, at) })
	}
	*as = slices.Insert(*as, i, a)
}

// forgetAnswers removes up to limit answers of attempts that began until then, and
// its notes of those that went with their event.
func (s *Store) forgetAnswers(until micros, limit int) int {
	n, end := 0, 0
	for ; end < len(s.answers); end++ {
		a := s.answers[end]
		i, there := a.d.attempt(a.n)
		gone := s.events[a.d.event.Num] == nil || !there || len(a.d.log[i].ResponseHeader)+len(a.d.log[i].ResponseBody) == 0
		if gone {
			continue
		}
		if a.at > until || n >= limit {
			break
		}
		a.d.log[i].ResponseHeader, a.d.log[i].ResponseBody = nil, nil
		n++
	}
	clear(s.answers[:end])
	s.answers = s.answers[end:]
	return n
}
