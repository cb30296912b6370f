package sender

import (
	"context"
	"fmt"
	"net/url"

	"github.com/hookpost/hookpost/store"
)

// maxSameHost is how many endpoints CheckURL compares.
const maxSameHost = 1000

// CheckURL tells early, such as while a form is filled in, whether an endpoint can have
// a URL: the one with that id, or a new one if the id is empty. The errors are those of
// CreateEndpoint and EditEndpoint: ErrInvalidURL, store.ErrDuplicateURL,
// store.ErrNotFound and store.ErrDeleted. Somebody else may take the URL meanwhile, and
// of a host with more than 1000 endpoints not all are compared.
func (t *Tenant) CheckURL(ctx context.Context, endpointID, rawURL string) error {
	if t.err != nil {
		return t.err
	}
	s := t.sender
	ep := store.Endpoint{Scope: t.scope}
	if endpointID != "" {
		var err error
		if ep, err = s.st.Endpoint(ctx, t.scope, endpointID); err != nil {
			return err
		}
		if ep.State == store.Deleted {
			return store.ErrDeleted
		}
	}
	if err := s.setURL(&ep, rawURL); err != nil {
		return err
	}
	u, err := url.Parse(ep.URLKey)
	if err != nil {
		return fmt.Errorf("sender: checking a URL: %w", err)
	}
	same, err := s.st.ListEndpoints(ctx, t.scope, store.EndpointQuery{Search: u.Hostname(), Limit: maxSameHost})
	if err != nil {
		return err
	}
	for i := range same {
		if same[i].URLKey == ep.URLKey && same[i].ID != endpointID {
			return store.ErrDuplicateURL
		}
	}
	return nil
}
