package project

import (
	"encoding/json"
	"go/parser"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	backoffModule = "github.com/cenkalti/backoff/v4"
	uuidModule    = "github.com/google/uuid"
	testifyModule = "github.com/stretchr/testify"
)

// arrows says what a package may import besides the standard library. Packages of
// hookpost are named by their directory. A new package needs a line here.
var arrows = map[string][]string{
	"signing":         {},
	"retry":           {backoffModule},
	"store":           {},
	"store/keyring":   {},
	"store/memory":    {"store"},
	"store/storetest": {"store"},
	"store/postgres": {
		"store", "github.com/jackc/pgx/v5", "github.com/jackc/pgx/v5/pgconn", "github.com/jackc/pgx/v5/pgtype", "github.com/jackc/pgx/v5/pgxpool",
	},
	"store/sqlite":          {"store", "modernc.org/sqlite"},
	"sender":                {"signing", "retry", "store", "store/keyring", "internal/netguard", uuidModule},
	"sender/sendertest":     {},
	"dashboard":             {"sender", "signing", "store", "internal/inert"},
	"dashboard/api":         {"dashboard", "dashboard/internal/desk", "sender", "signing", "store"},
	"verifier":              {"signing"},
	"verifier/dedupe":       {"verifier"},
	"verifier/verifiertest": {"verifier", "signing"},
	"otel": {
		"sender", "store", "verifier", "signing", "go.opentelemetry.io/otel", "go.opentelemetry.io/otel/attribute",
		"go.opentelemetry.io/otel/codes", "go.opentelemetry.io/otel/metric", "go.opentelemetry.io/otel/propagation",
		"go.opentelemetry.io/otel/semconv/v1.43.0", "go.opentelemetry.io/otel/semconv/v1.43.0/httpconv",
		"go.opentelemetry.io/otel/semconv/v1.43.0/messagingconv", "go.opentelemetry.io/otel/trace",
	},
	"internal/inert":      {},
	"internal/netguard":   {},
	"internal/pgproxy":    {},
	"internal/pgserver":   {},
	"internal/project":    {},
	"internal/storemodel": {"store", "store/memory"},
}

// forTests are internal packages that only tests import, with what they may import
// besides what their owner may.
var forTests = map[string][]string{
	"store/postgres/internal/pgtest": {"internal/pgproxy", "internal/pgserver"},
}

// modulesOfTheirOwn import what they like: nobody links them.
var modulesOfTheirOwn = []string{"cmd/hookpost", "examples", "internal/bench", "internal/e2e", "internal/interop", "internal/txlibs"}

func TestPackagesImportOnlyWhatTheDesignAllows(t *testing.T) {
	for _, f := range sources(t, parser.ImportsOnly) {
		if f.test() || within(f.dir, modulesOfTheirOwn) {
			continue
		}
		allowed, known := arrows[f.dir]
		if !known && strings.Contains(f.dir, "/internal") {
			owner, _, _ := strings.Cut(f.dir, "/internal")
			allowed, known = arrows[owner]
		}
		require.True(t, known, "package %s is not in the table of arrows", f.dir)
		for _, spec := range f.syn.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if standard(imported) {
				continue
			}
			imported = strings.TrimPrefix(imported, modulePath+"/")
			if strings.HasPrefix(imported, f.dir+"/") {
				continue // its own internal packages
			}
			if slices.Contains(forTests[f.dir], imported) {
				continue
			}
			require.Contains(t, allowed, imported, "%s/%s", f.dir, f.name)
		}
	}
}

func TestUsersLinkOnlyBackoffAndUUID(t *testing.T) {
	skipShort(t)
	for _, p := range corePackages(t) {
		for _, dep := range p.Deps {
			if standard(dep) || ours(dep) || dep == backoffModule || dep == uuidModule {
				continue
			}
			t.Errorf("%s links %s", p.ImportPath, dep)
		}
	}
}

func TestReceiversLinkNoSender(t *testing.T) {
	skipShort(t)
	const (
		verifier = modulePath + "/verifier"
		sender   = modulePath + "/sender"
	)
	deps := map[string][]string{}
	for _, p := range corePackages(t) {
		deps[p.ImportPath] = p.Deps
	}
	require.Contains(t, deps, verifier)
	require.Contains(t, deps, sender)

	require.NotContains(t, deps[sender], verifier)
	for _, dep := range deps[verifier] {
		require.True(t, standard(dep) || dep == modulePath+"/signing", "verifier links %s", dep)
	}
}

func TestTestsRequireAndNeverAssert(t *testing.T) {
	for _, f := range sources(t, parser.ImportsOnly) {
		for _, spec := range f.syn.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			require.NoError(t, err)
			if !strings.HasPrefix(imported, testifyModule) {
				continue
			}
			require.Equal(t, testifyModule+"/require", imported, "%s/%s", f.dir, f.name)
			require.True(t, f.test(), "%s/%s is no test", f.dir, f.name)
		}
	}
}

type listedPackage struct {
	ImportPath string
	Deps       []string
}

// corePackages lists the packages of the core module with everything that a
// program importing them links.
func corePackages(t *testing.T) []listedPackage {
	t.Helper()
	var pkgs []listedPackage
	dec := json.NewDecoder(strings.NewReader(string(goCommand(t, root, "list", "-json=ImportPath,Deps", "./..."))))
	for dec.More() {
		var p listedPackage
		require.NoError(t, dec.Decode(&p))
		pkgs = append(pkgs, p)
	}
	require.NotEmpty(t, pkgs)
	return pkgs
}

// standard reports whether the package belongs to the standard library, whose
// paths have no dot in their first element. It brings copies of golang.org/x under
// vendor/.
func standard(importPath string) bool {
	first, _, _ := strings.Cut(importPath, "/")
	return !strings.Contains(first, ".")
}

func ours(importPath string) bool { return strings.HasPrefix(importPath, modulePath+"/") }

// within reports whether dir is one of the parents or below one.
func within(dir string, parents []string) bool {
	for _, p := range parents {
		if dir == p || strings.HasPrefix(dir, p+"/") {
			return true
		}
	}
	return false
}
