package sender_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/hookpost/hookpost/retry"
	"github.com/hookpost/hookpost/sender"
	"github.com/hookpost/hookpost/sender/sendertest"
	"github.com/hookpost/hookpost/store"
)

// logLine is a level, a message and its keys.
type logLine struct{ level, message, keys string }

// TestLogLinesAreTheDocumentedOnes holds docs/observing.md against the calls in this
// package: people search for these words.
func TestLogLinesAreTheDocumentedOnes(t *testing.T) {
	page, err := os.ReadFile("../docs/observing.md")
	require.NoError(t, err)
	_, section, ok := strings.Cut(string(page), "\n## Log lines\n")
	require.True(t, ok)
	section, _, _ = strings.Cut(section, "\n## ")
	var documented []logLine
	for _, m := range regexp.MustCompile(`(?m)^\| (info|warn|error) \| (.*?) \| (.*?)\|$`).FindAllStringSubmatch(section, -1) {
		documented = append(documented, logLine{m[1], m[2], strings.ReplaceAll(strings.TrimSpace(m[3]), "`", "")})
	}
	require.ElementsMatch(t, loggedLines(t), documented)
}

// loggedLines returns what the package's source logs.
func loggedLines(t *testing.T) []logLine {
	t.Helper()
	var lines []logLine
	fset := token.NewFileSet()
	names, err := fs.Glob(os.DirFS("."), "*.go")
	require.NoError(t, err)
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") || name == "trouble.go" {
			continue
		}
		file, err := parser.ParseFile(fset, name, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			method, ok := call.Fun.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			of, _ := method.X.(*ast.SelectorExpr)
			level, args := strings.ToLower(method.Sel.Name), call.Args
			switch {
			case of != nil && of.Sel.Name == "log":
			case of != nil && method.Sel.Name == "report":
				level, args = "warn", slices.Delete(slices.Clone(args), 1, 2) // the error
			default:
				return true
			}
			line := logLine{level: level}
			for i, arg := range args {
				lit, isText := arg.(*ast.BasicLit)
				if i != 0 && i%2 == 0 {
					continue // a value
				}
				require.True(t, isText, "%s: messages and keys are constants", fset.Position(arg.Pos()))
				text, err := strconv.Unquote(lit.Value)
				require.NoError(t, err)
				if i == 0 {
					line.message, ok = strings.CutPrefix(text, "hookpost: ")
					require.True(t, ok, fset.Position(arg.Pos()))
				} else {
					line.keys = strings.TrimSpace(line.keys + " " + text)
				}
			}
			if !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
			return true
		})
	}
	require.NotEmpty(t, lines)
	return lines
}

// Success is silent, and what ends badly is one line.
func TestOneLineForEachOutcomeThatMatters(t *testing.T) {
	inBubble(t, sender.Options{Schedule: retry.Steps(time.Minute), GiveUpAfter: time.Hour}, func(t *testing.T, w *world) {
		w.receiver("good.example", sendertest.Answer{Status: 204})
		w.receiver("bad.example", sendertest.Answer{Status: 500})
		acme := w.For("acme", store.Live)
		w.endpoint(acme, "good.example", "good.thing")
		bad := w.endpoint(acme, "bad.example", "bad.thing")
		for range 20 {
			w.send(acme, "good.thing")
		}
		require.Empty(t, w.log.String())

		id := w.send(acme, "bad.thing")
		w.pass(2 * time.Minute)
		_, err := acme.SendTest(t.Context(), bad.ID)
		require.NoError(t, err)
		w.pass(time.Minute)
		d := w.delivery(acme, id, bad)
		line := strings.TrimSpace(w.log.String())
		require.Equal(t, 1, strings.Count(line, "msg="), line)
		_, line, _ = strings.Cut(line, " ") // the time
		require.Equal(t, `level=WARN msg="hookpost: delivery exhausted" event=`+id+" type=bad.thing endpoint="+bad.ID+
			" tenant=acme mode=live delivery="+d.ID.String()+` attempts=2 status=500 reason="`+d.Reason+`"`, line)
	})
}
