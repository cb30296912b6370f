package dashboard

import (
	"errors"
	"net/http"
	"net/url"
	"strings"

	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/store"
)

// endpointForm is the side panel in which an endpoint is added or edited.
type endpointForm struct {
	ID          string // of the endpoint that is edited; empty: a new one
	URL         string
	Description string
	Picker      picker
	URLGood     bool // it was asked for and can be used

	// What is wrong, beside the field it is about.
	URLError   string
	TypesError string
	DescError  string
	OtherError string
}

// Wrong reports whether something is.
func (f *endpointForm) Wrong() bool {
	return f.URLError != "" || f.TypesError != "" || f.DescError != "" || f.OtherError != ""
}

// blame puts an error of the sender's beside its field, or returns it.
func (f *endpointForm) blame(err error) error {
	var badURL *sender.URLError
	var bad *sender.EndpointError
	switch {
	case err == nil:
	case errors.As(err, &badURL):
		f.URLError = "This URL " + badURL.Problem + "."
	case errors.Is(err, store.ErrDuplicateURL):
		f.URLError = "Another endpoint has this URL already. Use a different URL, or edit that endpoint."
	case errors.Is(err, sender.ErrInvalidSelection):
		f.TypesError = reason(errors.New(strings.TrimPrefix(err.Error(), sender.ErrInvalidSelection.Error()+": ")))
	case errors.As(err, &bad) && bad.Field == "Description":
		f.DescError = "The description " + bad.Problem + "."
	case errors.As(err, &bad):
		f.OtherError = bad.Field + " " + bad.Problem + "."
	default:
		return err
	}
	return nil
}

// fill reads the panel's fields.
func (v *visit) fill(form url.Values) (*endpointForm, []string) {
	types := v.d.office.EventTypes()
	selection := picked(types, form)
	f := &endpointForm{
		URL: strings.TrimSpace(form.Get("url")), Description: strings.TrimSpace(form.Get("description")),
		Picker: newPicker(types, selection),
	}
	if len(selection) == 0 {
		f.TypesError = "Select at least one event."
	}
	if f.URL == "" {
		f.URLError = "Enter the URL of your endpoint, such as https://example.com/webhooks."
	}
	return f, selection
}

// again is the panel for another try. Of what is much too long the beginning is kept.
func (f *endpointForm) again() *endpointForm {
	f.URL, f.Description = f.URL[:min(len(f.URL), maxAgain)], f.Description[:min(len(f.Description), maxAgain)]
	return f
}

// maxAgain is how much of a field is shown again, in bytes: more than the sender
// accepts.
const maxAgain = 4 << 10

// check is the panel after a check of its URL alone: events may not be picked yet.
func (v *visit) check(f *endpointForm) (*endpointForm, error) {
	f.TypesError = ""
	if f.URLError == "" {
		err := v.CheckURL(v.r.Context(), f.ID, f.URL)
		f.URLGood = err == nil
		if err := f.blame(err); err != nil {
			return nil, err
		}
	}
	return f.again(), nil
}

// panel shows a panel over the list.
func (v *visit) panel(status int, template, title string, panel any) error {
	l, err := v.list(v.query)
	if err != nil {
		return err
	}
	l.Panel = panel
	v.render(status, template, page{Title: title, Nav: "endpoints", Overlay: true}, l)
	return nil
}

func (v *visit) newEndpoint() error {
	return v.panel(http.StatusOK, "endpointform.html", "Add endpoint", &endpointForm{Picker: newPicker(v.d.office.EventTypes(), nil)})
}

// secretDialog shows a signing secret for the only time.
type secretDialog struct {
	Endpoint store.Endpoint
	Secret   string
	Rotated  bool
	Public   bool // Secret is the public half of a key pair
}

// createEndpoint answers with the secret itself: no address leads to it a second
// time.
func (v *visit) createEndpoint() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	f, selection := v.fill(form)
	if form.Has("check") {
		if f, err = v.check(f); err != nil {
			return err
		}
		return v.panel(http.StatusOK, "endpointform.html", "Add endpoint", f)
	}
	if !f.Wrong() {
		ep, secret, err := v.CreateEndpoint(v.r.Context(), sender.EndpointSpec{URL: f.URL, EventTypes: selection, Description: f.Description})
		if err == nil {
			return v.panel(http.StatusOK, "secret.html", "Webhook signing secret", secretDialog{Endpoint: ep, Secret: secret.Reveal()})
		}
		if err := f.blame(err); err != nil {
			return err
		}
	}
	return v.panel(http.StatusUnprocessableEntity, "endpointform.html", "Add endpoint", f.again())
}

func (v *visit) editEndpoint() error {
	ep, err := v.Endpoint(v.r.Context(), v.r.PathValue("id"))
	if err != nil {
		return err
	}
	if ep.State == store.Deleted {
		return store.ErrDeleted
	}
	f := &endpointForm{ID: ep.ID, URL: ep.URL, Description: ep.Description, Picker: newPicker(v.d.office.EventTypes(), ep.EventTypes)}
	return v.panel(http.StatusOK, "endpointform.html", "Edit webhook", f)
}

func (v *visit) saveEndpoint() error {
	form, err := v.form()
	if err != nil {
		return err
	}
	id := v.r.PathValue("id")
	if _, err := v.Endpoint(v.r.Context(), id); err != nil {
		return err
	}
	f, selection := v.fill(form)
	f.ID = id
	if form.Has("check") {
		if f, err = v.check(f); err != nil {
			return err
		}
		return v.panel(http.StatusOK, "endpointform.html", "Edit webhook", f)
	}
	if !f.Wrong() {
		_, err := v.EditEndpoint(v.r.Context(), id, sender.EndpointEdit{URL: &f.URL, EventTypes: selection, Description: &f.Description})
		if err == nil {
			return v.redirect("endpoints/%s?done=saved", url.PathEscape(id))
		}
		if err := f.blame(err); err != nil {
			return err
		}
	}
	return v.panel(http.StatusUnprocessableEntity, "endpointform.html", "Edit webhook", f.again())
}
