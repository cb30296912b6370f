package project

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/format"
	"go/parser"
	"go/token"
	"go/version"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// A snippet is a block of Go in a Markdown file: a whole program, or statements,
// which are compiled as the body of a function that returns an error. A comment
// before such a block names what it takes for granted, in the form of parameters:
//
//	<!-- given: ctx context.Context, hooks *sender.Sender -->
//
// A program is followed by a block of text, its output.
type snippet struct {
	file   string // absolute
	line   int    // of the first line of code
	code   string
	given  string
	output string
}

func (s snippet) program() bool { return strings.HasPrefix(s.code, "package ") }

func (s snippet) String() string {
	return fmt.Sprintf("%s:%d", filepath.Base(s.file), s.line)
}

var (
	blockForm = regexp.MustCompile("(?m)^(?:<!-- given: (.*) -->\n)?^```go\n((?s:.*?))^```$(?:\n+(?:[^`\n].*\n+)?^```text\n((?s:.*?))^```$)?")
	codeForm  = regexp.MustCompile("(?m)^```go\n")
)

// snippets returns the Go blocks of all Markdown files.
func snippets(t *testing.T) []snippet {
	t.Helper()
	var found []snippet
	walk(t, func(name string) {
		if path.Ext(name) != ".md" {
			return
		}
		file, err := filepath.Abs(filepath.Join(root, name))
		require.NoError(t, err)
		text, err := os.ReadFile(file)
		require.NoError(t, err)
		blocks := blockForm.FindAllSubmatchIndex(text, -1)
		require.Len(t, codeForm.FindAllIndex(text, -1), len(blocks), "%s: a block of Go does not end", name)
		for _, m := range blocks {
			part := func(i int) string {
				if m[2*i] < 0 {
					return ""
				}
				return string(text[m[2*i]:m[2*i+1]])
			}
			found = append(found, snippet{
				file:   file,
				line:   1 + bytes.Count(text[:m[4]], []byte("\n")),
				given:  part(1),
				code:   part(2),
				output: part(3),
			})
		}
	})
	return found
}

func TestSnippetsAreFormatted(t *testing.T) {
	for _, s := range snippets(t) {
		formatted, err := format.Source([]byte(s.code))
		require.NoError(t, err, "%s", s)
		require.Equal(t, string(formatted), s.code, "%s", s)
	}
}

// The snippets are compiled, and the programs run, as a user would: in a module
// outside the repository.
func TestSnippetsCompileAndRun(t *testing.T) {
	skipShort(t)
	dir := t.TempDir()
	writeUserModule(t, dir)
	all := snippets(t)
	for i, s := range all {
		pkg := filepath.Join(dir, fmt.Sprintf("snippet%d", i))
		require.NoError(t, os.Mkdir(pkg, 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(pkg, "snippet.go"), compilable(t, s), 0o644))
	}
	goCommand(t, dir, "vet", "-mod=mod", "./...")

	programs := 0
	for i, s := range all {
		if !s.program() {
			continue
		}
		programs++
		t.Run(s.String(), func(t *testing.T) {
			binary := filepath.Join(dir, fmt.Sprintf("program%d", i))
			goCommand(t, dir, "build", "-mod=mod", "-o", binary, fmt.Sprintf("./snippet%d", i))
			cmd := exec.CommandContext(t.Context(), binary)
			cmd.Dir = t.TempDir()
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			out, err := cmd.Output()
			require.NoError(t, err, "%s%s", out, &stderr)
			require.NotEmpty(t, s.output, "the document does not say what the program prints")
			require.Equal(t, s.output, string(out))
		})
	}
	require.Positive(t, programs, "no document holds a whole program")
}

// writeUserModule makes dir a module that requires hookpost's modules as they are
// in this tree.
func writeUserModule(t *testing.T, dir string) {
	t.Helper()
	goVersion := "1.25.0"
	sums := map[string]bool{}
	var requires, replaces strings.Builder
	for _, m := range modules(t) {
		if within(m, modulesOfTheirOwn) {
			continue
		}
		mod := readMod(t, m)
		at, err := filepath.Abs(filepath.Join(root, m))
		require.NoError(t, err)
		fmt.Fprintf(&requires, "require %s v0.1.0\n", mod.Module.Path)
		fmt.Fprintf(&replaces, "replace %s => %s\n", mod.Module.Path, strconv.Quote(at))
		for _, r := range mod.Require {
			if r.Path != modulePath && !ours(r.Path) {
				fmt.Fprintf(&requires, "require %s %s // indirect\n", r.Path, r.Version)
			}
		}
		if version.Compare("go"+mod.Go, "go"+goVersion) > 0 {
			goVersion = mod.Go
		}
		sum, err := os.ReadFile(filepath.Join(at, "go.sum"))
		require.NoError(t, err)
		for line := range strings.Lines(string(sum)) {
			sums[line] = true
		}
	}
	mod := "module example.com/user\n\ngo " + goVersion + "\n\n" + requires.String() + "\n" + replaces.String()
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.mod"), []byte(mod), 0o644))
	sum := strings.Join(slices.Sorted(maps.Keys(sums)), "")
	require.NoError(t, os.WriteFile(filepath.Join(dir, "go.sum"), []byte(sum), 0o644))
}

// compilable returns the snippet as a Go file, whose errors point into the
// document.
func compilable(t *testing.T, s snippet) []byte {
	t.Helper()
	code := fmt.Sprintf("//line %s:%d\n%s", s.file, s.line, s.code)
	if s.program() {
		return []byte(code)
	}
	wrap := func(header, footer string) string {
		return fmt.Sprintf("package snippet\n\n%s\nfunc _(%s) error {\n%s%s\treturn nil\n}\n", header, s.given, code, footer)
	}
	f, err := parser.ParseFile(token.NewFileSet(), "", wrap("", ""), 0)
	require.NoError(t, err, "%s", s)

	var imports, uses strings.Builder
	for _, name := range unresolved(f) {
		if importPath, ok := importable[name]; ok {
			fmt.Fprintf(&imports, "import %q\n", importPath)
		}
	}
	for _, name := range defined(f) {
		fmt.Fprintf(&uses, "\t_ = %s\n", name) // a reader goes on from here
	}
	return []byte(wrap(imports.String(), uses.String()))
}

// importable are the packages that statements may use without saying so.
var importable = func() map[string]string {
	paths := map[string]string{}
	for _, std := range []string{
		"context", "database/sql", "encoding/json", "errors", "fmt", "hash/fnv", "io", "log/slog",
		"net/http", "net/http/httptest", "net/netip", "os", "sync/atomic", "testing", "time",
	} {
		paths[path.Base(std)] = std
	}
	for _, pgx := range []string{"github.com/jackc/pgx/v5/pgxpool"} {
		paths[path.Base(pgx)] = pgx
	}
	for dir := range arrows {
		if !strings.HasPrefix(dir, "internal/") {
			paths[path.Base(dir)] = modulePath + "/" + dir
		}
	}
	return paths
}()

// unresolved returns the names that f uses and does not declare.
func unresolved(f *ast.File) []string {
	var names []string
	for _, id := range f.Unresolved { //nolint:staticcheck // names suffice, types are not needed
		names = append(names, id.Name)
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// defined returns the variables that the statements of the last function define at
// their top level.
func defined(f *ast.File) []string {
	var names []string
	for _, stmt := range f.Decls[len(f.Decls)-1].(*ast.FuncDecl).Body.List {
		assign, ok := stmt.(*ast.AssignStmt)
		if !ok || assign.Tok != token.DEFINE {
			continue
		}
		for _, left := range assign.Lhs {
			if id, ok := left.(*ast.Ident); ok && id.Name != "_" {
				names = append(names, id.Name)
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
