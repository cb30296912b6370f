package dashboard

import (
	"maps"
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
	// Recommended groups are open, others only if something in them is selected.
	Recommended bool
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
	left := setOf(selection) // what is not in the catalogue
	delete(left, "*")
	selected := maps.Clone(left)
	places := make(map[string]int) // of groups in their section, by key
	for _, t := range catalogue {
		delete(left, t.Name)
		section, key := &p.Advanced, groupKey(t)
		if t.Recommended {
			section = &p.Recommended
		}
		i, found := places[key]
		if !found {
			i = len(*section)
			places[key] = i
			*section = append(*section, group{Key: key, Resource: t.Resource, Recommended: t.Recommended})
		}
		g := &(*section)[i]
		g.Types = append(g.Types, choice{t, selected[t.Name]})
	}
	for _, s := range selection {
		// What nobody can select is not offered again.
		if left[s] && len(s) <= maxOther && len(p.Others) < maxOthers {
			p.Others = append(p.Others, s)
		}
	}
	if p.Free {
		p.Text, p.Others = strings.Join(p.Others, "\n"), nil
	}
	return p
}

// maxOthers is how many types besides the catalogue are offered, and maxOther how
// long they are, in bytes: as much as the sender accepts.
const (
	maxOthers = 1000
	maxOther  = 255
)

// groupKey is the value that selects a type's group.
func groupKey(t sender.EventType) string {
	if t.Recommended {
		return "recommended:" + t.Resource
	}
	return "advanced:" + t.Resource
}

func setOf(list []string) map[string]bool {
	set := make(map[string]bool, len(list))
	for _, s := range list {
		set[s] = true
	}
	return set
}

// picked is the selection that a form says: all, or what is ticked and the groups
// ticked as a whole, or the lines typed in.
func picked(catalogue []sender.EventType, form url.Values) []string {
	if form.Has("all") {
		return []string{"*"}
	}
	var selection []string
	seen := map[string]bool{}
	add := func(s string) {
		if s = strings.TrimSpace(s); s != "" && !seen[s] {
			seen[s] = true
			selection = append(selection, s)
		}
	}
	if len(catalogue) == 0 {
		for _, s := range strings.FieldsFunc(form.Get("types"), func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
			add(s)
		}
		return selection
	}
	types, groups := setOf(form["type"]), setOf(form["group"])
	for _, recommended := range []bool{true, false} {
		for _, t := range catalogue {
			if t.Recommended == recommended && (types[t.Name] || groups[groupKey(t)]) {
				add(t.Name)
			}
		}
	}
	for _, s := range form["type"] { // what is not in the catalogue; the sender judges it
		add(s)
	}
	return selection
}
