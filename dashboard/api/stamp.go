package api

import "time"

// A stamp is a time in UTC that always has six fraction digits, so that texts sort as
// times do and strict readers can read all of them.
type stamp struct{ time.Time }

// utc is a time as JSON can hold it: one of a year that it lacks becomes the nearest that
// it has, so that one bad event does not make a page of others unreadable.
func utc(t time.Time) stamp {
	switch t = t.UTC(); {
	case t.Year() < 0:
		t = time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)
	case t.Year() > 9999:
		t = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
	}
	return stamp{t}
}

// MarshalJSON implements json.Marshaler.
func (s stamp) MarshalJSON() ([]byte, error) {
	return s.AppendFormat(nil, `"2006-01-02T15:04:05.000000Z"`), nil
}
