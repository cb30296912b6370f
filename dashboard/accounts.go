package dashboard

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/internal/inert"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// accountList is the choice of accounts.
type accountList struct {
	Search string
	Rows   []accountRow
	Cut    bool // there are more
}

// accountRow is a tenant with the modes that the visitor has it in.
type accountRow struct {
	Tenant, Name string
	Modes        []modeLink
}

// maxAccounts is how many tenants the page lists; the search finds the others.
const maxAccounts = 100

func (v *visit) accounts() error {
	l := accountList{Search: v.query.Get("q")}
	places := map[string]int{}
	for _, a := range v.access.Accounts {
		name := accountName(a)
		if !strings.Contains(strings.ToLower(name+"\n"+a.Tenant), strings.ToLower(l.Search)) {
			continue
		}
		i, found := places[a.Tenant]
		if !found {
			if len(l.Rows) == maxAccounts {
				l.Cut = true
				continue
			}
			i = len(l.Rows)
			places[a.Tenant] = i
			l.Rows = append(l.Rows, accountRow{Tenant: a.Tenant, Name: name})
		}
		scope := store.Scope{Tenant: a.Tenant, Mode: a.Mode}
		l.Rows[i].Modes = append(l.Rows[i].Modes, modeLink{Name: a.Mode.String(), Href: v.root() + desk.Segment(scope) + "/endpoints"})
	}
	v.render(http.StatusOK, "accounts.html", page{Title: "Accounts"}, l)
	return nil
}

// typeGroup is a resource in the list of event types.
type typeGroup struct {
	Resource string
	Types    []typeView
}

type typeView struct {
	sender.EventType
	Body inert.Shown
}

func (v *visit) typeList() error {
	var groups []typeGroup
	places := map[string]int{}
	for _, t := range v.d.office.EventTypes() {
		i, found := places[t.Resource]
		if !found {
			i = len(groups)
			places[t.Resource] = i
			groups = append(groups, typeGroup{Resource: t.Resource})
		}
		data, err := json.Marshal(t.Example)
		if raw, ok := t.Example.([]byte); ok {
			data, err = raw, nil
		}
		if err != nil {
			return err
		}
		groups[i].Types = append(groups[i].Types, typeView{t, inert.Text(data, maxShown)})
	}
	v.render(http.StatusOK, "types.html", page{Title: "Event types", Nav: "types"}, groups)
	return nil
}
