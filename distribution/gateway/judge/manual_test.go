package judge

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"

	"beamsandbox/policy"
)

// TestManualTellsOfEveryRule: in both of its tables, what it is and how it came
// to be, and whether it ends the link.
func TestManualTellsOfEveryRule(t *testing.T) {
	b, err := os.ReadFile("../../../docs/gateway.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tables, found := strings.Cut(string(b), "\n## Rules\n")
	what, why, found2 := strings.Cut(tables, "\n## How each rule came to be\n")
	why, _, found3 := strings.Cut(why, "\n## ")
	if !found || !found2 || !found3 {
		t.Fatal("the manual has no such sections")
	}
	for _, rule := range rulesOf(t) {
		row := firstCell(what, rule)
		if row == "" || firstCell(why, rule) == "" {
			t.Errorf("the manual does not tell of rule %s", rule)
		}
		if closes(rule) != strings.Contains(row, "*closes*") {
			t.Errorf("the manual has rule %s as %q", rule, row)
		}
	}
}

// firstCell is the first cell of a table's row that names a rule.
func firstCell(section, rule string) string {
	for line := range strings.Lines(section) {
		cell, _, _ := strings.Cut(strings.TrimPrefix(line, "| "), " |")
		if strings.HasPrefix(line, "| ") && strings.Contains(cell, "`"+rule+"`") {
			return cell
		}
	}
	return ""
}

// rulesOf are the values of the constants that are called rule and something.
func rulesOf(t *testing.T) []string {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), "rules.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	rules := []string{policy.RuleGlobal}
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || !strings.HasPrefix(spec.Names[0].Name, "rule") || len(spec.Values) == 0 {
			return true
		}
		if lit, ok := spec.Values[0].(*ast.BasicLit); ok {
			rule, _ := strconv.Unquote(lit.Value)
			rules = append(rules, rule)
		}
		return true
	})
	if len(rules) < 30 {
		t.Fatalf("found only the rules %q", rules)
	}
	return rules
}
