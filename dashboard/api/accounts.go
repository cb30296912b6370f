package api

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/hookpost/hookpost/dashboard"
	"github.com/hookpost/hookpost/dashboard/internal/desk"
	"github.com/hookpost/hookpost/store"
)

// accountView is a tenant in one mode.
type accountView struct {
	ID     string   `json:"id"` // its segment in paths
	Tenant string   `json:"tenant"`
	Mode   string   `json:"mode"`
	Name   string   `json:"name"`
	Rights []string `json:"rights"`
}

// rightNames are the rights as the JSON calls them.
var rightNames = []struct {
	right dashboard.Rights
	name  string
}{
	{dashboard.Manage, "manage"},
	{dashboard.Replay, "replay"},
	{dashboard.RotateSecrets, "rotate_secrets"},
}

func (c *call) listAccounts() error {
	search := strings.ToLower(c.query.text("search"))
	all := []accountView{}
	for _, a := range c.access.Accounts {
		v := accountView{
			ID: desk.Segment(store.Scope{Tenant: a.Tenant, Mode: a.Mode}), Tenant: a.Tenant,
			Mode: a.Mode.String(), Name: a.Name, Rights: []string{},
		}
		if v.Name == "" {
			v.Name = a.Tenant
		}
		for _, r := range rightNames {
			if a.Rights&r.right != 0 {
				v.Rights = append(v.Rights, r.name)
			}
		}
		if strings.Contains(strings.ToLower(v.Name+"\n"+v.Tenant), search) {
			all = append(all, v)
		}
	}
	l, err := page(c, "account", all, func(v accountView) string { return v.ID })
	if err != nil {
		return err
	}
	return c.answer(http.StatusOK, l)
}

// eventTypeView is an entry of the catalogue.
type eventTypeView struct {
	Name        string          `json:"name"`
	Resource    string          `json:"resource"`
	Description string          `json:"description,omitempty"`
	Recommended bool            `json:"recommended"`
	Example     json.RawMessage `json:"example"`
}

// listEventTypes lists the whole catalogue, which is in code and has no pages.
func (c *call) listEventTypes() error {
	l := list[eventTypeView]{Data: []eventTypeView{}}
	for _, t := range c.api.office.EventTypes() {
		example, err := json.Marshal(t.Example)
		if raw, ok := t.Example.([]byte); ok {
			example, err = raw, nil
		}
		if err != nil {
			return err
		}
		l.Data = append(l.Data, eventTypeView{t.Name, t.Resource, t.Description, t.Recommended, example})
	}
	return c.answer(http.StatusOK, l)
}
