package project

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	root       = "../.."
	modulePath = "github.com/hookpost/hookpost"
)

// A sourceFile is a Go file of the repository, of whatever module.
type sourceFile struct {
	dir  string // slash-separated, relative to the root, "." for the root
	name string
	syn  *ast.File
	fset *token.FileSet
}

func (f sourceFile) test() bool { return strings.HasSuffix(f.name, "_test.go") }

// sources parses all Go files of the repository.
func sources(t *testing.T, mode parser.Mode) []sourceFile {
	t.Helper()
	var files []sourceFile
	walk(t, func(name string) {
		if path.Ext(name) != ".go" {
			return
		}
		fset := token.NewFileSet()
		syn, err := parser.ParseFile(fset, filepath.Join(root, name), nil, mode)
		require.NoError(t, err)
		files = append(files, sourceFile{path.Dir(name), path.Base(name), syn, fset})
	})
	require.NotEmpty(t, files)
	return files
}

// modules returns the directories of all modules, relative to the root.
func modules(t *testing.T) []string {
	t.Helper()
	var dirs []string
	walk(t, func(name string) {
		if path.Base(name) == "go.mod" {
			dirs = append(dirs, path.Dir(name))
		}
	})
	require.Contains(t, dirs, ".")
	return dirs
}

// walk calls fn with the path of every file, relative to the root, except for
// those that the go command ignores as well.
func walk(t *testing.T, fn func(name string)) {
	t.Helper()
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := path.Base(name)
		if d.IsDir() && name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
			return fs.SkipDir
		}
		if !d.IsDir() {
			fn(name)
		}
		return nil
	})
	require.NoError(t, err)
}

// goCommand runs the go command in dir without the workspace, which would hide
// what a go.mod lacks, and returns its output.
func goCommand(t *testing.T, dir string, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOWORK=off")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	require.NoError(t, err, "go %s\n%s%s", strings.Join(args, " "), &stdout, &stderr)
	return stdout.Bytes()
}

// modFile is what the tests need of `go mod edit -json`.
type modFile struct {
	Module  struct{ Path string }
	Go      string
	Require []requirement
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
}

type requirement struct {
	Path, Version string
	Indirect      bool
}

func readMod(t *testing.T, dir string) (m modFile) {
	t.Helper()
	require.NoError(t, json.Unmarshal(goCommand(t, filepath.Join(root, dir), "mod", "edit", "-json"), &m))
	return m
}

func skipShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("runs the go command; left out by -short")
	}
}
