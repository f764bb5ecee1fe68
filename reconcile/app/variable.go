package app

import (
	"strconv"
	"strings"

	"beamsandbox/distribution/term"
)

// IsVariable reports whether a key of env names an environment variable of a
// guest instead of a parameter of the application: capital letters, digits and
// underscores, a letter first (POSIX.1-2017, 8.1), at most 64 bytes. They are
// what System.get_env/1 reads and what ${NAME} in a release's sys.config.src
// becomes.
func IsVariable(key string) bool {
	if key == "" || len(key) > 64 || key[0] < 'A' || key[0] > 'Z' {
		return false
	}
	return strings.Trim(key, "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_") == ""
}

// VariableText is a term as the value of an environment variable; ok is false
// for what is neither a text nor a number, and for a text with a NUL.
func VariableText(t term.Term) (text string, ok bool) {
	switch t := t.(type) {
	case term.Int:
		return strconv.FormatInt(int64(t), 10), true
	case term.Float:
		return strconv.FormatFloat(float64(t), 'g', -1, 64), true
	}
	text, ok = term.Text(t)
	return text, ok && len(text) <= 32<<10 && !strings.Contains(text, "\x00")
}

// variable checks one environment variable of a guest.
func (d *document) variable(e entry, s section) {
	for _, r := range variableRules() {
		for _, name := range r.names {
			if e.key == name || strings.HasSuffix(name, "_") && strings.HasPrefix(e.key, name) {
				s.fail(e.key, "a variable of the application's own", r.why)
				return
			}
		}
	}
	if _, ok := VariableText(e.value.Term); !ok {
		s.fail(e.key, "a text or a number, as it is an environment variable", "")
	}
	if d.spec.Isolation != VM {
		s.fail(e.key, "no environment variable for an embedded app", "it shares the host VM's; set isolation to vm, or use a key in small letters")
	}
}

type variableRule struct {
	why   string
	names []string // those that end in _ stand for all that begin so
}

// variableRules: names that would undo how a guest is started.
func variableRules() []variableRule {
	return []variableRule{
		{"every guest has a cookie of its own, from a file", []string{"RELEASE_COOKIE", "ERLANG_COOKIE", "COOKIE"}},
		{"variables of the emulator are the sandbox's, use vm_config", []string{
			"ERL_", "ROOTDIR", "BINDIR", "EMU", "PROGNAME", "RELEASE_", "REL_NAME", "REL_VSN", "ELIXIR_ERL_OPTIONS"}},
		{"they tell a guest who it is and are the sandbox's", []string{"BEAMSANDBOX_"}},
		{"the file system of a guest is the sandbox's", []string{"HOME", "PATH", "LD_"}},
	}
}
