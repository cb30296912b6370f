package dashboard

import (
	"net/url"
	"slices"
	"strings"

	"github.com/hookpost/hookpost/sender"
)

// picker is the choice of event types in the form of an endpoint.
type picker struct {
	All bool // "*" is selected
	// Recommended and Advanced are the catalogue, in groups by resource. One resource
	// can have a group in each.
	Recommended []group
	Advanced    []group
	// Others are selected and not in the catalogue, patterns among them.
	Others []string
	// Free says that there is no catalogue: types are typed in, one a line, as Text.
	Free bool
	Text string
}

// group is one resource's types in one section.
type group struct {
	Key      string // value of its "Select all"
	Resource string
	Types    []choice
}

// choice is an event type that can be ticked.
type choice struct {
	sender.EventType
	Picked bool
}

// Picked is how many types of the group are.
func (g group) Picked() (n int) {
	for _, c := range g.Types {
		if c.Picked {
			n++
		}
	}
	return n
}

// HasAdvanced reports whether something is selected in the section that is closed
// at first.
func (p picker) HasAdvanced() bool {
	return slices.ContainsFunc(p.Advanced, func(g group) bool { return g.Picked() > 0 })
}

// newPicker shows a selection in the catalogue.
func newPicker(catalogue []sender.EventType, selection []string) picker {
	p := picker{All: slices.Contains(selection, "*"), Free: len(catalogue) == 0}
	if p.Free {
		p.Text = strings.Join(slices.DeleteFunc(slices.Clone(selection), func(s string) bool { return s == "*" }), "\n")
		return p
	}
	known := make(map[string]bool, len(catalogue))
	for _, t := range catalogue {
		known[t.Name] = true
		section, key := &p.Advanced, "advanced:"+t.Resource
		if t.Recommended {
			section, key = &p.Recommended, "recommended:"+t.Resource
		}
		i := slices.IndexFunc(*section, func(g group) bool { return g.Key == key })
		if i < 0 {
			i = len(*section)
			*section = append(*section, group{Key: key, Resource: t.Resource})
		}
		g := &(*section)[i]
		g.Types = append(g.Types, choice{t, slices.Contains(selection, t.Name)})
	}
	for _, s := range selection {
		if s != "*" && !known[s] {
			p.Others = append(p.Others, s)
		}
	}
	return p
}

// picked is the selection that a form says: all, or what is ticked and the groups
// ticked as a whole, or the lines typed in.
func picked(catalogue []sender.EventType, form url.Values) []string {
	if form.Has("all") {
		return []string{"*"}
	}
	var selection []string
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" && !slices.Contains(selection, s) {
			selection = append(selection, s)
		}
	}
	if len(catalogue) == 0 {
		for _, s := range strings.FieldsFunc(form.Get("types"), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
			add(s)
		}
		return selection
	}
	p := newPicker(catalogue, nil)
	for _, section := range [][]group{p.Recommended, p.Advanced} {
		for _, g := range section {
			for _, c := range g.Types {
				if slices.Contains(form["type"], c.Name) || slices.Contains(form["group"], g.Key) {
					add(c.Name)
				}
			}
		}
	}
	for _, s := range form["type"] { // what is not in the catalogue; the sender judges it
		add(s)
	}
	return selection
}
