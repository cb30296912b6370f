package memory

import "math/bits"

// numberSet is a set of small numbers that finds the next member after a number
// in constant time: a bitmap, above it a bitmap of its words that are not empty,
// and so on.
type numberSet struct {
	levels [4][]uint64
}

func (s *numberSet) add(n int64) {
	for l := range s.levels {
		w := int(n >> 6)
		if w >= len(s.levels[l]) {
			s.levels[l] = append(s.levels[l], make([]uint64, w+1-len(s.levels[l]))...)
		}
		s.levels[l][w] |= 1 << (n & 63)
		n >>= 6
	}
}

func (s *numberSet) remove(n int64) {
	for l := range s.levels {
		w := n >> 6
		if w >= int64(len(s.levels[l])) {
			return
		}
		s.levels[l][w] &^= 1 << (n & 63)
		if s.levels[l][w] != 0 {
			return
		}
		n = w
	}
}

// next returns the smallest member that is at least n, or -1.
func (s *numberSet) next(n int64) int64 {
	for l := range s.levels {
		w := n >> 6
		if w >= int64(len(s.levels[l])) {
			return -1
		}
		if m := s.levels[l][w] >> (n & 63); m != 0 {
			return s.first(l, n+int64(bits.TrailingZeros64(m)))
		}
		n = w + 1
	}
	// n is a word of the top level now.
	top := len(s.levels) - 1
	for w := n; w < int64(len(s.levels[top])); w++ {
		if m := s.levels[top][w]; m != 0 {
			return s.first(top, w<<6+int64(bits.TrailingZeros64(m)))
		}
	}
	return -1
}

// first returns the smallest member below bit n of level l.
func (s *numberSet) first(l int, n int64) int64 {
	for l > 0 {
		l--
		n = n<<6 + int64(bits.TrailingZeros64(s.levels[l][n]))
	}
	return n
}
