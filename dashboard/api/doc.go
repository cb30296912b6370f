// Package api is the dashboard as JSON over HTTP, for front ends and scripts of an
// application's own: the same operations, behind the same function that authorises
// and the same rights.
//
// It is an [http.Handler] that an application mounts if it wants to, beside the
// pages or without them:
//
//	operations, err := api.New(hooks, authorize, nil) // a dashboard.AuthorizeFunc
//	http.Handle("/webhooks/api/", http.StripPrefix("/webhooks/api", operations))
//
// The path that it is mounted at must be stripped, without the slash at its end.
//
// GET /openapi.json describes every operation in OpenAPI 3.1, to anybody; all else is
// authorised request by request. GET /accounts lists what the caller was granted, and
// everything that belongs to one of these is below /accounts/{account}. What was not
// granted is not found.
//
// Bodies are application/json of at most 1 MiB. Fields and query parameters that are
// not known are refused, so that a filter with a typing error does not select
// everything. Names are in snake_case; times are RFC 3339 in UTC; durations are
// numbers, with the unit at the end of the name; what is not known or does not apply
// is left out. Lists are pages of "data", and "next_cursor", if there is more, is the
// cursor parameter of the next one; it has no other meaning. Errors are
// application/problem+json (RFC 9457) and say for each field or parameter what is
// wrong and what would be right.
//
// Changes from browsers are accepted from the handler's own origin alone
// ([http.CrossOriginProtection]); callers that are no browsers are not concerned. A
// signing secret is in the answer to the POST that made it and nowhere else.
package api
