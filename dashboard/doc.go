// Package dashboard is a web page on which customers, or the people who support
// them, manage webhook endpoints, read the delivery log and replay events.
//
// It is an [http.Handler] that an application mounts under any path of its own
// server, behind its own sign-in:
//
//	pages, err := dashboard.New(hooks, func(r *http.Request) (dashboard.Access, error) {
//		user, err := signedIn(r) // the application's own sessions
//		if err != nil {
//			return dashboard.Access{}, err
//		}
//		rights := dashboard.Manage | dashboard.Replay
//		return dashboard.Access{Actor: user.Email, Accounts: []dashboard.Account{
//			{Tenant: user.Company, Mode: store.Live, Rights: rights},
//			{Tenant: user.Company, Mode: store.Test, Rights: rights},
//		}}, nil
//	}, nil)
//	http.Handle("/webhooks/", http.StripPrefix("/webhooks", pages))
//
// The path that it is mounted at must be stripped, without the slash at its end; a
// handler that can tell that it is not says so, with status 500.
//
// Every request is authorised by that function anew, and what it does not grant
// does not exist for the visitor. Nothing is loaded from elsewhere, and all works
// without JavaScript; a small script of the handler's own adds comfort.
//
// Changes are made by POST alone and refused from other origins
// ([http.CrossOriginProtection]); a Content-Security-Policy allows no inline code
// and no frames; what receivers and events say is shown as text. Signing secrets
// are shown once, in the answer to the POST that made them.
package dashboard
