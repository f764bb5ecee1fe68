package policy

import (
	"fmt"
	"slices"
	"strings"

	"beamsandbox/distribution/term"
	"beamsandbox/reconcile/app"
)

// ParseMessages reads what an operator writes about the messages of an app, a
// map or a property list:
//
//	#{mode => enforce,
//	  pubsubs => [#{name => 'Elixir.Demo.PubSub', topics => [<<"stats:*">>], pool => 2}],
//	  groups => [#{scope => jobs, names => [workers], message => {done, '$integer'}}],
//	  allow => [#{to => stats, kind => call, message => {get, '_'}, rate => 100}],
//	  limits => #{messages => 500}}
//
// Every key may be left out; an unknown one is an error, and so is a pattern
// that cannot be read.
func ParseMessages(t term.Term) (Messages, error) {
	var m Messages
	err := fields("messages", t, map[string]func(term.Term) error{
		"mode":    func(v term.Term) error { return readMode(v, &m.Mode) },
		"pubsubs": func(v term.Term) error { return each(v, &m.PubSubs, readPubSub) },
		"groups":  func(v term.Term) error { return each(v, &m.Groups, readGroups) },
		"allow":   func(v term.Term) error { return each(v, &m.Allow, readAllow) },
		"limits":  func(v term.Term) error { return readLimits(v, &m.Limits) },
	})
	if err != nil {
		return Messages{}, err
	}
	return m, nil
}

// ParseApps reads the messages of apps by name, a map or a property list of
// what ParseMessages reads.
func ParseApps(t term.Term) (map[app.Name]Messages, error) {
	pairs, ok := term.Proplist(t)
	if !ok {
		return nil, fmt.Errorf("read messages: expected a map from apps to their messages, found %s", term.Brief(t, 60))
	}
	all := map[app.Name]Messages{}
	for _, p := range pairs {
		name, ok := term.Text(p.Key)
		if !ok || name == "" {
			return nil, fmt.Errorf("read messages: expected an app's name, found %s", term.Brief(p.Key, 60))
		}
		m, err := ParseMessages(p.Value)
		if err != nil {
			return nil, fmt.Errorf("app %s: %w", name, err)
		}
		all[app.Name(name)] = m
	}
	return all, nil
}

// fields hands each value of a map or property list to the reader of its key.
func fields(what string, t term.Term, readers map[string]func(term.Term) error) error {
	pairs, ok := term.Proplist(t)
	if !ok {
		return fmt.Errorf("read %s: expected a map, found %s", what, term.Brief(t, 60))
	}
	for _, p := range pairs {
		key, _ := term.Text(p.Key)
		read := readers[key]
		if read == nil {
			var known []string
			for k := range readers {
				known = append(known, k)
			}
			slices.Sort(known)
			return fmt.Errorf("read %s: key %s is unknown, expected one of %s", what, term.Brief(p.Key, 60), strings.Join(known, ", "))
		}
		if err := read(p.Value); err != nil {
			return fmt.Errorf("read %s: %s: %w", what, key, err)
		}
	}
	return nil
}

func each[T any](t term.Term, all *[]T, read func(term.Term) (T, error)) error {
	l, ok := t.(term.List)
	elems, proper := l.Proper()
	if !ok || !proper {
		return fmt.Errorf("expected a list, found %s", term.Brief(t, 60))
	}
	for _, e := range elems {
		v, err := read(e)
		if err != nil {
			return err
		}
		*all = append(*all, v)
	}
	return nil
}

func readMode(t term.Term, m *Mode) error {
	s, _ := term.Text(t)
	if *m = Mode(s); *m != Enforce && *m != Audit && *m != Trusted {
		return fmt.Errorf("expected enforce, audit or trusted, found %s", term.Brief(t, 60))
	}
	return nil
}

func readPubSub(t term.Term) (PubSub, error) {
	var p PubSub
	err := fields("pubsub", t, map[string]func(term.Term) error{
		"name":        func(v term.Term) error { return readText(v, &p.Name) },
		"topics":      func(v term.Term) error { return each(v, &p.Topics, readName) },
		"dispatchers": func(v term.Term) error { return each(v, &p.Dispatchers, readName) },
		"pool":        func(v term.Term) error { return readInt(v, &p.Pool) },
	})
	if err == nil && p.Name == "" {
		err = fmt.Errorf("read pubsub: name is missing in %s", term.Brief(t, 60))
	}
	return p, err
}

func readGroups(t term.Term) (Groups, error) {
	var g Groups
	err := fields("groups", t, map[string]func(term.Term) error{
		"scope":   func(v term.Term) error { return readText(v, &g.Scope) },
		"names":   func(v term.Term) error { return each(v, &g.Names, readName) },
		"message": func(v term.Term) error { g.Message = term.Format(v); return checkPattern(v) },
	})
	if err == nil && g.Scope == "" {
		err = fmt.Errorf("read groups: scope is missing in %s", term.Brief(t, 60))
	}
	return g, err
}

func readAllow(t term.Term) (Allow, error) {
	var a Allow
	err := fields("allow", t, map[string]func(term.Term) error{
		"to":      func(v term.Term) error { return readText(v, &a.To) },
		"kind":    func(v term.Term) error { return readKind(v, &a.Kind) },
		"message": func(v term.Term) error { a.Message = term.Format(v); return checkPattern(v) },
		"rate":    func(v term.Term) error { return readInt(v, &a.Rate) },
	})
	if err == nil && (a.To == "" || a.Kind == "") {
		err = fmt.Errorf("read allow: to or kind is missing in %s", term.Brief(t, 60))
	}
	return a, err
}

func readKind(t term.Term, k *Kind) error {
	s, _ := term.Text(t)
	if *k = Kind(s); *k != Call && *k != Cast && *k != Info {
		return fmt.Errorf("expected call, cast or info, found %s", term.Brief(t, 60))
	}
	return nil
}

func readLimits(t term.Term, l *Limits) error {
	number := func(at *int) func(term.Term) error {
		return func(v term.Term) error { return readInt(v, at) }
	}
	upTo := func(at *int, most int) func(term.Term) error {
		return func(v term.Term) error {
			if err := readInt(v, at); err != nil || *at <= most {
				return err
			}
			return fmt.Errorf("expected a number up to %d, or -1 for no limit, found %d", most, *at)
		}
	}
	return fields("limits", t, map[string]func(term.Term) error{
		"frame": number(&l.Frame), "nodes": number(&l.Nodes), "atoms": upTo(&l.Atoms, MostAtoms), "messages": number(&l.Messages),
		"bytes": number(&l.Bytes), "monitors": number(&l.Monitors), "grants": number(&l.Grants),
		"handshakes": number(&l.Handshakes), "closes": upTo(&l.Closes, MostCloses),
	})
}

func readName(t term.Term) (string, error) {
	var s string
	err := readText(t, &s)
	return s, err
}

func readText(t term.Term, s *string) error {
	text, ok := term.Text(t)
	if !ok || text == "" {
		return fmt.Errorf("expected an atom or text, found %s", term.Brief(t, 60))
	}
	*s = text
	return nil
}

func readInt(t term.Term, n *int) error {
	i, ok := t.(term.Int)
	if !ok || i < -1 || i > 1<<31-1 {
		return fmt.Errorf("expected a number up to 2147483647, found %s", term.Brief(t, 60))
	}
	*n = int(i)
	return nil
}
