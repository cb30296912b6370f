package api

import "net/http"

// operation is what one method does on one path.
type operation struct {
	method string
	path   string
	query  []string // the parameters it knows
	do     func(*call) error
}

var (
	pageQuery     = []string{"limit", "cursor"}
	eventQuery    = []string{"type", "ref", "from", "to", "limit", "cursor"}
	deliveryQuery = []string{"endpoint_id", "event_id", "state", "type", "ref", "from", "to", "limit", "cursor"}
)

// operations are all of them. openapi.json has the same.
var operations = []operation{
	{http.MethodGet, "/accounts", []string{"search", "limit", "cursor"}, (*call).listAccounts},
	{http.MethodGet, "/event-types", nil, (*call).listEventTypes},

	{http.MethodGet, "/accounts/{account}/endpoints", []string{"search", "state", "limit", "cursor"}, (*call).listEndpoints},
	{http.MethodPost, "/accounts/{account}/endpoints", nil, (*call).createEndpoint},
	{http.MethodGet, "/accounts/{account}/endpoints/{id}", nil, (*call).getEndpoint},
	{http.MethodPatch, "/accounts/{account}/endpoints/{id}", nil, (*call).editEndpoint},
	{http.MethodDelete, "/accounts/{account}/endpoints/{id}", nil, (*call).deleteEndpoint},
	{http.MethodPost, "/accounts/{account}/endpoints/{id}/disable", nil, (*call).disableEndpoint},
	{http.MethodPost, "/accounts/{account}/endpoints/{id}/enable", nil, (*call).enableEndpoint},
	{http.MethodPost, "/accounts/{account}/endpoints/{id}/test", nil, (*call).sendTest},
	{http.MethodPost, "/accounts/{account}/endpoints/{id}/rotate", nil, (*call).rotateSecret},
	{http.MethodDelete, "/accounts/{account}/endpoints/{id}/secrets/{secret}", nil, (*call).revokeSecret},
	{http.MethodGet, "/accounts/{account}/endpoints/{id}/history", pageQuery, (*call).endpointHistory},
	{http.MethodGet, "/accounts/{account}/endpoints/{id}/activity", []string{"newest"}, (*call).endpointActivity},

	{http.MethodGet, "/accounts/{account}/events", eventQuery, (*call).listEvents},
	{http.MethodGet, "/accounts/{account}/events/{id}", nil, (*call).getEvent},
	{http.MethodGet, "/accounts/{account}/events/{id}/body", nil, (*call).eventBody},
	{http.MethodGet, "/accounts/{account}/events/{id}/explain", []string{"endpoint_id"}, (*call).explainEvent},
	{http.MethodPost, "/accounts/{account}/events/{id}/replay", nil, (*call).replayEvent},

	{http.MethodGet, "/accounts/{account}/deliveries", deliveryQuery, (*call).listDeliveries},
	{http.MethodGet, "/accounts/{account}/deliveries/{id}", nil, (*call).getDelivery},
	{http.MethodGet, "/accounts/{account}/deliveries/{id}/attempts", pageQuery, (*call).listAttempts},
	{http.MethodPost, "/accounts/{account}/deliveries/{id}/cancel", nil, (*call).cancelDelivery},

	{http.MethodGet, "/accounts/{account}/recoveries", pageQuery, (*call).listRecoveries},
	{http.MethodPost, "/accounts/{account}/recoveries", nil, (*call).startRecovery},
	{http.MethodPost, "/accounts/{account}/recoveries/dry-run", nil, (*call).countRecovery},
	{http.MethodGet, "/accounts/{account}/recoveries/{id}", nil, (*call).getRecovery},
	{http.MethodPost, "/accounts/{account}/recoveries/{id}/cancel", nil, (*call).cancelRecovery},
}
