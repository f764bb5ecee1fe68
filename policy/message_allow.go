package policy

import (
	"fmt"
	"strings"

	"beamsandbox/distribution/term"
)

// Kind is the way a message is sent to a registered name.
type Kind string

// The kinds of messages that a rule can allow.
const (
	Call Kind = "call" // gen_server:call and its like: {'$gen_call', From, Request}
	Cast Kind = "cast" // gen_server:cast: {'$gen_cast', Request}
	Info Kind = "info" // Name ! Message
)

// Allow lets a guest send messages of one kind and shape to one registered
// name of the host VM.
type Allow struct {
	To      string `json:"to"`
	Kind    Kind   `json:"kind"`
	Message string `json:"message,omitempty"` // a pattern in Erlang's syntax, see Pattern; empty: any message
	Rate    int    `json:"rate,omitempty"`    // messages a second, 0: as many as the guest may send
}

// Pattern is a term that others are held against. Atoms that begin with '$',
// and '_', stand for what they name, everywhere but as a key of a map; any
// other term stands for itself:
//
//	'_'                         anything
//	'$atom' '$binary' '$float' '$integer' '$list' '$map' '$number'
//	'$pid' '$ref' '$string' '$tuple'    any term of that type
//	{'$integer', Min, Max}      an integer in that range
//	{'$binary', Max}            a binary of at most Max bytes
//	{'$list', Pattern}          a list whose elements all match
//	{'$oneof', [Pattern, ...]}  what matches one of them
//
// A map matches if it has the same keys and their values match; with the
// entry '_' => '_' it may have more keys.
type Pattern struct{ t term.Term }

// ParsePattern reads the text of a pattern, with or without a final '.'.
func ParsePattern(text string) (Pattern, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Pattern{term.Atom("_")}, nil
	}
	if !strings.HasSuffix(text, ".") {
		text += " ."
	}
	terms, err := term.Parse([]byte(text))
	if err != nil {
		return Pattern{}, fmt.Errorf("read pattern: %w", err)
	}
	if len(terms) != 1 {
		return Pattern{}, fmt.Errorf("read pattern: found %d terms, expected one", len(terms))
	}
	if err := checkPattern(terms[0]); err != nil {
		return Pattern{}, fmt.Errorf("read pattern: %w", err)
	}
	return Pattern{terms[0]}, nil
}

// checkPattern finds words that begin with '$' and mean nothing: a rule with a
// misspelt type would silently allow nothing.
func checkPattern(p term.Term) error {
	switch p := p.(type) {
	case term.Atom:
		if strings.HasPrefix(string(p), "$") && !isType(p) {
			return fmt.Errorf("%s is no type; known are '$atom', '$binary', '$float', '$integer', '$list', '$map', '$number', '$pid', '$ref', '$string' and '$tuple'", term.Format(p))
		}
	case term.Tuple:
		if len(p) > 0 {
			if word, ok := p[0].(term.Atom); ok && strings.HasPrefix(string(word), "$") {
				return checkParametric(word, p)
			}
		}
		return checkPatterns(p)
	case term.List:
		return checkPatterns(append(p.Elems[:len(p.Elems):len(p.Elems)], tailOf(p)...))
	case term.Map:
		for _, pair := range p {
			if err := checkPattern(pair.Value); err != nil {
				return err
			}
		}
	}
	return nil
}

func tailOf(l term.List) []term.Term {
	if l.Tail == nil {
		return nil
	}
	return []term.Term{l.Tail}
}

func checkPatterns(all []term.Term) error {
	for _, p := range all {
		if err := checkPattern(p); err != nil {
			return err
		}
	}
	return nil
}

func checkParametric(word term.Atom, p term.Tuple) error {
	usage := func(want string) error {
		return fmt.Errorf("%s is not of the form %s", term.Brief(p, 60), want)
	}
	switch word {
	case "$integer":
		if len(p) != 3 || !isInt(p[1]) || !isInt(p[2]) {
			return usage("{'$integer', Min, Max}")
		}
		return nil
	case "$binary":
		if len(p) != 2 || !isInt(p[1]) {
			return usage("{'$binary', Max}")
		}
		return nil
	case "$list":
		if len(p) != 2 {
			return usage("{'$list', Pattern}")
		}
		return checkPattern(p[1])
	case "$oneof":
		if len(p) != 2 {
			return usage("{'$oneof', [Pattern, ...]}")
		}
		l, ok := p[1].(term.List)
		if !ok || len(l.Elems) == 0 || l.Tail != nil {
			return usage("{'$oneof', [Pattern, ...]}")
		}
		return checkPatterns(l.Elems)
	}
	return checkPatterns(p)
}

func isInt(t term.Term) bool {
	_, ok := t.(term.Int)
	return ok
}
