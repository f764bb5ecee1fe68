package policy

import (
	"strings"

	"beamsandbox/distribution/term"
)

// Match says whether t is of the pattern's shape.
func (p Pattern) Match(t term.Term) bool { return match(p.t, t) }

// String is the pattern in Erlang's syntax.
func (p Pattern) String() string { return term.Format(p.t) }

func match(p, t term.Term) bool {
	switch p := p.(type) {
	case term.Atom:
		return p == "_" || isType(p) && ofType(p, t) || p == t
	case term.Tuple:
		if ok, special := matchParametric(p, t); special {
			return ok
		}
		tuple, ok := t.(term.Tuple)
		return ok && matchEach(p, tuple)
	case term.List:
		l, ok := t.(term.List)
		return ok && matchEach(p.Elems, l.Elems) && matchTail(p.Tail, l.Tail)
	case term.Map:
		m, ok := t.(term.Map)
		return ok && matchMap(p, m)
	}
	return term.Equal(p, t)
}

func matchEach(ps, ts []term.Term) bool {
	if len(ps) != len(ts) {
		return false
	}
	for i := range ps {
		if !match(ps[i], ts[i]) {
			return false
		}
	}
	return true
}

func matchTail(p, t term.Term) bool {
	if p == nil || t == nil {
		return p == nil && t == nil
	}
	return match(p, t)
}

func matchMap(p, m term.Map) bool {
	fixed := 0
	for _, pair := range p {
		if pair.Key == term.Atom("_") {
			continue
		}
		fixed++
		v, ok := m.Get(pair.Key)
		if !ok || !match(pair.Value, v) {
			return false
		}
	}
	return len(m) == fixed || fixed < len(p)
}

// matchParametric matches the tuples that stand for types; special says that
// the pattern is one.
func matchParametric(p term.Tuple, t term.Term) (ok, special bool) {
	if len(p) < 2 || p[0] == term.Atom("$integer") && len(p) < 3 {
		return false, false
	}
	switch p[0] {
	case term.Atom("$integer"):
		n, ok := t.(term.Int)
		low, _ := p[1].(term.Int)
		high, _ := p[2].(term.Int)
		return ok && n >= low && n <= high, true
	case term.Atom("$binary"):
		b, ok := t.(term.Binary)
		most, _ := p[1].(term.Int)
		return ok && term.Int(len(b)) <= most, true
	case term.Atom("$list"):
		return matchAll(p[1], t), true
	case term.Atom("$oneof"):
		return matchOne(p[1], t), true
	}
	return false, false
}

func matchAll(p, t term.Term) bool {
	l, ok := t.(term.List)
	if !ok || l.Tail != nil {
		return false
	}
	for _, e := range l.Elems {
		if !match(p, e) {
			return false
		}
	}
	return true
}

func matchOne(alternatives, t term.Term) bool {
	l, _ := alternatives.(term.List)
	for _, p := range l.Elems {
		if match(p, t) {
			return true
		}
	}
	return false
}

func isType(a term.Atom) bool {
	return strings.HasPrefix(string(a), "$") && strings.Contains(" $atom $binary $float $integer $list $map $number $pid $ref $string $tuple ", " "+string(a)+" ")
}

func ofType(name term.Atom, t term.Term) bool {
	switch t := t.(type) {
	case term.Atom:
		return name == "$atom"
	case term.Binary:
		return name == "$binary"
	case term.Float:
		return name == "$float" || name == "$number"
	case term.Int, term.Big:
		return name == "$integer" || name == "$number"
	case term.List:
		_, text := term.Text(t)
		return name == "$list" && t.Tail == nil || name == "$string" && text
	case term.Map:
		return name == "$map"
	case term.Pid:
		return name == "$pid"
	case term.Ref:
		return name == "$ref"
	case term.Tuple:
		return name == "$tuple"
	}
	return false
}
