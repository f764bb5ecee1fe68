// Package integration tests the whole on real parts: containerd, runc, BEAM
// nodes, git repositories, nftables. This file needs none of them: it holds
// the architecture's import table.
package integration

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "beamsandbox/"

// layers says which of our packages a package may import, beside itself and
// the packages below it. Packages that are not listed may not exist.
var layers = map[string][]string{
	"distribution/term":        {},
	"reconcile/app":            {"distribution/term"},
	"reconcile/status":         {"reconcile/app"},
	"reconcile/durable":        {},
	"policy":                   {"reconcile/app", "distribution/term"},
	"distribution/wire":        {"distribution/term"},
	"distribution/secure":      {"distribution/term", "reconcile/app"},
	"distribution/epmd":        {"distribution/wire", "distribution/term"},
	"distribution/control":     {"distribution/wire", "distribution/epmd", "distribution/term", "reconcile/app"},
	"distribution/gateway":     {"distribution/secure", "distribution/wire", "distribution/epmd", "distribution/control", "distribution/term", "policy", "reconcile/app"},
	"distribution":             {"distribution/gateway", "distribution/secure", "distribution/wire", "distribution/epmd", "distribution/term", "policy", "reconcile/app", "reconcile/durable"},
	"netns":                    {"policy", "reconcile/app", "distribution/term"},
	"images":                   {"policy", "reconcile/app", "distribution/term"},
	"runtime":                  {"distribution/secure", "policy", "reconcile/app", "distribution/term"},
	"reconcile/git":            {"reconcile/app"},
	"reconcile/macula":         {"reconcile/app", "reconcile/health", "distribution/term"},
	"reconcile/health":         {"reconcile/app", "distribution/term"},
	"reconcile/reconciletest":  {"reconcile", "images", "netns", "distribution", "runtime", "policy", "reconcile/app", "reconcile/git", "reconcile/status", "distribution/term"},
	"reconcile/components":     {"distribution/term", "reconcile/app", "reconcile/health"},
	"reconcile/telemetry":      {"distribution/term", "reconcile/health", "reconcile/app"},
	"reconcile/doctor/machine": {"distribution/epmd", "reconcile/status"},
	"reconcile/doctor":         {"distribution", "distribution/control", "distribution/epmd", "distribution/term", "distribution/wire", "reconcile/app", "reconcile/health", "reconcile/status", "policy"},
	"reconcile":                {"images", "netns", "distribution", "distribution/secure", "runtime", "policy", "reconcile/app", "reconcile/durable", "reconcile/components", "reconcile/telemetry", "reconcile/git", "reconcile/health", "reconcile/macula", "reconcile/status", "distribution/term"},
	"cmd/internal/control":     {"reconcile/status"},
	"cmd/sandboxd":             {"*"},
	"cmd/sandboxctl":           {"cmd/internal/control", "reconcile/doctor/machine", "reconcile/status", "reconcile/app", "reconcile/git", "distribution/term", "policy"},
	"cmd/sandbox-gateway":      {"distribution/gateway", "policy", "reconcile/app"},
	"integration":              {"*"},
	"integration/stage":        {"*"},
	"examples/demo":            {"integration/stage", "reconcile/status", "distribution/term"},
}

// pure packages import nothing but the standard library and each other.
var pure = map[string][]string{
	"distribution/term": nil,
	"distribution/wire": nil,
	"reconcile/app":     {"gopkg.in/yaml.v3"},
	"reconcile/status":  nil,
	"policy":            nil,
}

// impure are the parts of the standard library that touch the world.
var impure = []string{"os", "net", "net/http", "os/exec", "syscall", "database/sql", "log"}

func TestImports(t *testing.T) {
	for file, imports := range sources(t, "..") {
		pkg := path.Dir(file)
		allowed, known := owner(pkg)
		if !known {
			t.Errorf("%s: package %s is not in the table of layers: give it a place there and in ARCHITECTURE.md", file, pkg)
			continue
		}
		for _, imp := range imports {
			if local, ours := strings.CutPrefix(imp, module); ours && !may(pkg, local, allowed) {
				t.Errorf("%s imports %s, which the table of layers forbids", file, local)
			}
			if why := impurity(pkg, imp); why != "" {
				t.Errorf("%s imports %s: %s is pure (%s)", file, imp, pkg, why)
			}
		}
	}
}

// owner finds the table's row for pkg: its own, or the nearest above.
func owner(pkg string) ([]string, bool) {
	for p := pkg; p != "."; p = path.Dir(p) {
		if allowed, ok := layers[p]; ok {
			return allowed, true
		}
	}
	return nil, false
}

func may(pkg, local string, allowed []string) bool {
	if strings.HasPrefix(local+"/", pkg+"/") || strings.HasPrefix(pkg+"/", local+"/") && sameRow(pkg, local) {
		return true
	}
	for _, a := range allowed {
		if a == "*" || local == a || (strings.HasPrefix(local, a+"/") && layers[local] == nil) {
			return true
		}
	}
	return false
}

// sameRow: a sub-package without a row of its own belongs to the room above.
func sameRow(pkg, local string) bool {
	_, own := layers[pkg]
	return !own || pkg == local
}

func impurity(pkg, imp string) string {
	extra, isPure := pure[pkg]
	first, _, _ := strings.Cut(imp, "/")
	switch {
	case !isPure || strings.HasPrefix(imp, module) || slices.Contains(extra, imp):
		return ""
	case strings.Contains(first, "."):
		return "a third-party package"
	case slices.Contains(impure, imp):
		return "it touches the world"
	}
	return ""
}

// sources maps every Go file that is not a test, by path from the top, to
// what it imports.
func sources(t *testing.T, top string) map[string][]string {
	t.Helper()
	found := map[string][]string{}
	err := filepath.WalkDir(top, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := d.Name()
		if d.IsDir() && (name == "testdata" || name == "bin" || name == "build" || (strings.HasPrefix(name, ".") && name != "..")) {
			return filepath.SkipDir
		}
		if _, err := os.Stat(filepath.Join(p, "go.mod")); d.IsDir() && p != top && err == nil {
			return filepath.SkipDir // a module of its own
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), p, nil, parser.ImportsOnly|parser.ParseComments)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(top, p)
		imports := []string{}
		for _, i := range f.Imports {
			path, _ := strconv.Unquote(i.Path.Value)
			imports = append(imports, path)
		}
		found[filepath.ToSlash(rel)] = imports
		return err
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("read the sources: %d files, %v", len(found), err)
	}
	return found
}

// TestPackageDocs: every package says what it is in a sentence.
func TestPackageDocs(t *testing.T) {
	documented := map[string]bool{}
	for file := range sources(t, "..") {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", file), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		pkg := path.Dir(file)
		documented[pkg] = documented[pkg] || (f.Doc != nil && strings.Contains(f.Doc.Text(), "."))
	}
	for pkg, ok := range documented {
		if !ok && pkg != "integration" {
			t.Errorf("package %s has no doc sentence", pkg)
		}
	}
}
