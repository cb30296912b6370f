package project

import (
	"go/ast"
	"go/parser"
	"testing"

	"github.com/stretchr/testify/require"
)

// The servers that people copy, and the command's, bound how long a client may take:
// without a bound one that sends nothing keeps its connection for ever.
func TestServersHaveTimeouts(t *testing.T) {
	seen := 0
	for _, f := range sources(t, parser.SkipObjectResolution) {
		if f.test() || !within(f.dir, []string{"examples", "cmd/hookpost"}) {
			continue
		}
		ast.Inspect(f.syn, func(n ast.Node) bool {
			lit, ok := n.(*ast.CompositeLit)
			if !ok {
				return true
			}
			sel, ok := lit.Type.(*ast.SelectorExpr)
			if !ok || sel.Sel.Name != "Server" {
				return true
			}
			seen++
			set := map[string]bool{}
			for _, e := range lit.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.Ident); ok {
						set[key.Name] = true
					}
				}
			}
			for _, field := range []string{"ReadHeaderTimeout", "ReadTimeout", "IdleTimeout"} {
				require.True(t, set[field], "a server in %s/%s has no %s", f.dir, f.name, field)
			}
			return true
		})
	}
	require.GreaterOrEqual(t, seen, 6)
}
