package dashboard

import (
	"net/http"

	"github.com/hookpost/hookpost/store"
)

// AuthorizeFunc says who makes a request and what they may see and do. It is
// called for every request, those for style sheet and script aside. With an error
// the visitor gets Options.Denied. An application that wants visitors to sign in
// does so in front of the handler.
type AuthorizeFunc func(r *http.Request) (Access, error)

// Access is what a visitor may see and do.
type Access struct {
	// Actor says who it is, such as an e-mail address. It goes into the history of
	// the endpoints that they change: valid UTF-8 without NUL of at most 255 bytes.
	Actor string
	// Accounts are what they may see, the first one first. Without any they are
	// denied. Usually there are two, live and test mode of one tenant.
	Accounts []Account
}

// Account is one tenant in one mode.
type Account struct {
	Tenant string
	Mode   store.Mode
	// Name is what the page calls the tenant. Default: Tenant.
	Name string
	// Rights are what the visitor may do. Default: read everything, change nothing.
	Rights Rights
}

// Rights say what a visitor may do besides reading. They are combined with |.
type Rights uint8

// The rights.
const (
	// Manage allows to create, edit, disable, enable and delete endpoints, and to
	// send them test events. Creating one shows its secret.
	Manage Rights = 1 << iota
	// Replay allows to replay events, to recover and to cancel deliveries.
	Replay
	// RotateSecrets allows to give endpoints new secrets, which it shows.
	RotateSecrets
)

// AllRights are all of them.
const AllRights = Manage | Replay | RotateSecrets

// Account returns the account of a tenant and mode, if the visitor has it.
func (a *Access) Account(scope store.Scope) (Account, bool) {
	for _, acc := range a.Accounts {
		if acc.Tenant == scope.Tenant && acc.Mode == scope.Mode {
			return acc, true
		}
	}
	return Account{}, false
}
