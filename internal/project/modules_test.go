package project

import (
	"encoding/json"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// benchModule stays out of the workspace: the peers it measures would change the
// versions that everything else is built with.
const benchModule = "internal/bench"

func TestCoreRequiresExactlyThreeModules(t *testing.T) {
	skipShort(t)
	var direct []string
	for _, r := range readMod(t, ".").Require {
		if !r.Indirect {
			direct = append(direct, r.Path)
		}
	}
	require.ElementsMatch(t, []string{backoffModule, uuidModule, testifyModule}, direct)
}

func TestWorkspaceListsEveryModule(t *testing.T) {
	skipShort(t)
	var work struct {
		Use []struct{ DiskPath string }
	}
	require.NoError(t, json.Unmarshal(goCommand(t, root, "work", "edit", "-json", "go.work"), &work))
	var used []string
	for _, u := range work.Use {
		used = append(used, path.Clean(u.DiskPath))
	}
	var want []string
	for _, dir := range modules(t) {
		if dir != benchModule {
			want = append(want, dir)
		}
	}
	require.ElementsMatch(t, want, used)
}

func TestReadmeListsTheFolders(t *testing.T) {
	text, err := os.ReadFile(filepath.Join(root, "README.md"))
	require.NoError(t, err)
	_, table, ok := strings.Cut(string(text), "\n## Where things live\n")
	require.True(t, ok)
	table, _, _ = strings.Cut(table, "\n## ")

	var listed []string
	for line := range strings.Lines(table) {
		cells := strings.Split(line, "|")
		if len(cells) < 3 {
			continue
		}
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cells[1], -1) {
			require.DirExists(t, filepath.Join(root, m[1]))
			listed = append(listed, m[1])
		}
	}
	require.ElementsMatch(t, slices.Concat(slices.Collect(maps.Keys(arrows)), modulesOfTheirOwn), listed)
}

// A replace that is missing goes unnoticed inside the workspace and breaks the
// module without it.
func TestModulesReplaceEveryHookpostModuleTheyRequire(t *testing.T) {
	skipShort(t)
	for _, dir := range modules(t) {
		mod := readMod(t, dir)
		wantPath := modulePath
		if dir != "." {
			wantPath += "/" + dir
		}
		require.Equal(t, wantPath, mod.Module.Path, "%s/go.mod", dir)

		replaced := map[string]string{}
		for _, r := range mod.Replace {
			replaced[r.Old.Path] = r.New.Path
		}
		for _, r := range mod.Require {
			if r.Path != modulePath && !ours(r.Path) {
				continue
			}
			at, ok := replaced[r.Path]
			require.True(t, ok, "%s/go.mod requires %s without replacing it", dir, r.Path)
			want := strings.TrimPrefix(strings.TrimPrefix(r.Path, modulePath), "/")
			require.Equal(t, filepath.Join(root, want), filepath.Join(root, dir, at), "%s/go.mod replaces %s", dir, r.Path)
		}
	}
}
