//go:build integration

package hex

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// oracle answers "version<TAB>requirement" lines from a file as Elixir does:
// the results without and with allow_pre: false, or what was invalid.
const oracle = `
for line <- File.stream!(hd(System.argv())) do
  [v, r] = String.split(String.trim_trailing(line, "\n"), "\t")
  answer = with {:version, {:ok, v}} <- {:version, Version.parse(v)},
                {:requirement, {:ok, r}} <- {:requirement, Version.parse_requirement(r)} do
    "#{Version.match?(v, r)} #{Version.match?(v, r, allow_pre: false)}"
  else
    {what, :error} -> "invalid #{what}"
  end
  IO.puts(answer)
end
`

// TestElixir compares 2,000 generated pairs with Elixir's own answers.
func TestElixir(t *testing.T) {
	const pairs = 2000
	g := generator{rand.New(rand.NewPCG(3, 1))}
	var lines []string
	for range pairs {
		lines = append(lines, g.version()+"\t"+g.requirement())
	}
	dir := t.TempDir()
	script, input := filepath.Join(dir, "oracle.exs"), filepath.Join(dir, "pairs")
	for name, text := range map[string]string{script: oracle, input: strings.Join(lines, "\n") + "\n"} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command("elixir", script, input)
	cmd.Env = append(os.Environ(), "LANG=C.UTF-8", "HOME="+dir)
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("run elixir (make setup installs it): %v", err)
	}
	answers := strings.Split(strings.TrimSuffix(string(out), "\n"), "\n")
	if len(answers) != pairs {
		t.Fatalf("%d answers", len(answers))
	}
	count := map[string]int{}
	for i, line := range lines {
		count[answers[i]]++
		if got := ask(line); got != answers[i] {
			t.Errorf("%q: %q, Elixir says %q", line, got, answers[i])
		}
	}
	for _, answer := range []string{"true true", "true false", "false false", "invalid version", "invalid requirement"} {
		if count[answer] < pairs/100 {
			t.Errorf("only %d pairs are %q: the generator tests too little", count[answer], answer)
		}
	}
	t.Log(count)
}

// ask answers one line as oracle does.
func ask(line string) string {
	text, requirement, _ := strings.Cut(line, "\t")
	v, err := ParseVersion(text)
	if err != nil {
		return "invalid version"
	}
	r, err := ParseRequirement(requirement)
	if err != nil {
		return "invalid requirement"
	}
	return fmt.Sprint(r.Match(v), " ", r.MatchRelease(v))
}

// generator makes versions so close to each other that they meet.
type generator struct{ *rand.Rand }

func (g generator) pick(all ...string) string { return all[g.IntN(len(all))] }

func (g generator) number() string {
	if g.IntN(60) == 0 {
		return g.pick("01", "", "a", "-1", "18446744073709551616", "18446744073709551617")
	}
	return g.pick("0", "0", "1", "1", "1", "2", "2", "10")
}

func (g generator) version() string {
	s := g.number() + "." + g.number()
	if g.IntN(40) > 0 {
		s += "." + g.number()
	}
	return s + g.suffix()
}

func (g generator) suffix() (s string) {
	if g.IntN(3) == 0 {
		s = "-" + g.identifier()
		for g.IntN(3) == 0 {
			s += "." + g.identifier()
		}
	}
	if g.IntN(8) == 0 {
		s += "+" + g.identifier()
	}
	return s
}

func (g generator) identifier() string {
	if g.IntN(30) == 0 {
		return g.pick("00", "", "a_b", "é")
	}
	return g.pick("0", "1", "2", "10", "rc", "rc1", "dev", "alpha", "0a", "a-b", "-")
}

func (g generator) requirement() string {
	s := g.comparison()
	for g.IntN(3) == 0 {
		s += g.pick(" and ", " or ", " and ", " or ", "  or  ", " and  ", g.pick(" and ", " ", "and", "\u00a0or ", " and and ")) + g.comparison()
	}
	return s
}

func (g generator) comparison() string {
	op := g.pick("~>", "~>", "~>", ">", ">=", "<", "<=", "==", "", "!=", g.pick("!", "!", "=", "=>", "~", ">= >"))
	v := g.version()
	if op == "~>" && g.IntN(2) == 0 {
		v = g.number() + "." + g.number() + g.suffix()
	}
	return op + g.pick(" ", " ", "", "  ") + v
}
