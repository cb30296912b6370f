package api

import (
	"net/http"

	"github.com/hookpost/hookpost/dashboard/internal/desk"
)

// operation is what one method does on one path.
type operation struct {
	method string
	path   string
	right  desk.Right // that it needs besides reading
	query  []string   // the parameters it knows
	do     func(*call) error
}

var (
	pageQuery     = []string{"limit", "cursor"}
	eventQuery    = []string{"type", "ref", "from", "to", "limit", "cursor"}
	deliveryQuery = []string{"endpoint_id", "event_id", "state", "type", "ref", "from", "to", "limit", "cursor"}
)

// operations are all of them. openapi.json has the same.
var operations = []operation{
	{http.MethodGet, "/accounts", 0, []string{"search", "limit", "cursor"}, (*call).listAccounts},
	{http.MethodGet, "/event-types", 0, nil, (*call).listEventTypes},

	{http.MethodGet, "/accounts/{account}/endpoints", 0, []string{"search", "state", "limit", "cursor"}, (*call).listEndpoints},
	{http.MethodPost, "/accounts/{account}/endpoints", desk.Manage, nil, (*call).createEndpoint},
	{http.MethodGet, "/accounts/{account}/endpoints/{id}", 0, nil, (*call).getEndpoint},
	{http.MethodPatch, "/accounts/{account}/endpoints/{id}", desk.Manage, nil, (*call).editEndpoint},
	{http.MethodDelete, "/accounts/{account}/endpoints/{id}", desk.Manage, nil, (*call).deleteEndpoint},
	{http.MethodPost, "/accounts/{account}/endpoints/{id}/disable", desk.Manage, nil, (*call).disableEndpoint},
	{http.MethodPost, "/accounts/{account}/endpoints/{id}/enable", desk.Manage, nil, (*call).enableEndpoint},
	{http.MethodPost, "/accounts/{account}/endpoints/{id}/test", desk.Manage, nil, (*call).sendTest},
	{http.MethodPost, "/accounts/{account}/endpoints/{id}/rotate", desk.RotateSecrets, nil, (*call).rotateSecret},
	{http.MethodDelete, "/accounts/{account}/endpoints/{id}/secrets/{secret}", desk.RotateSecrets, nil, (*call).revokeSecret},
	{http.MethodGet, "/accounts/{account}/endpoints/{id}/history", 0, pageQuery, (*call).endpointHistory},
	{http.MethodGet, "/accounts/{account}/endpoints/{id}/activity", 0, []string{"newest"}, (*call).endpointActivity},

	{http.MethodGet, "/accounts/{account}/events", 0, eventQuery, (*call).listEvents},
	{http.MethodGet, "/accounts/{account}/events/{id}", 0, nil, (*call).getEvent},
	{http.MethodGet, "/accounts/{account}/events/{id}/body", 0, nil, (*call).eventBody},
	{http.MethodGet, "/accounts/{account}/events/{id}/explain", 0, []string{"endpoint_id"}, (*call).explainEvent},
	{http.MethodPost, "/accounts/{account}/events/{id}/replay", desk.Replay, nil, (*call).replayEvent},

	{http.MethodGet, "/accounts/{account}/deliveries", 0, deliveryQuery, (*call).listDeliveries},
	{http.MethodGet, "/accounts/{account}/deliveries/{id}", 0, nil, (*call).getDelivery},
	{http.MethodGet, "/accounts/{account}/deliveries/{id}/explain", 0, nil, (*call).explainDelivery},
	{http.MethodGet, "/accounts/{account}/deliveries/{id}/attempts", 0, pageQuery, (*call).listAttempts},
	{http.MethodPost, "/accounts/{account}/deliveries/{id}/cancel", desk.Replay, nil, (*call).cancelDelivery},

	{http.MethodGet, "/accounts/{account}/recoveries", 0, pageQuery, (*call).listRecoveries},
	{http.MethodPost, "/accounts/{account}/recoveries", desk.Replay, nil, (*call).startRecovery},
	{http.MethodPost, "/accounts/{account}/recoveries/dry-run", desk.Replay, nil, (*call).countRecovery},
	{http.MethodGet, "/accounts/{account}/recoveries/{id}", 0, nil, (*call).getRecovery},
	{http.MethodPost, "/accounts/{account}/recoveries/{id}/cancel", desk.Replay, nil, (*call).cancelRecovery},
}
