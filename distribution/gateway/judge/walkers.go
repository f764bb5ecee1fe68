package judge

import "beamsandbox/distribution/wire/walk"

// keepSeen bounds how many of the host's atoms are remembered as known to it.
const keepSeen = 20_000

// guestAtom lets atoms pass that the host has, or that are within the budget.
func (j *Judge) guestAtom(name []byte, latin1 bool) bool {
	if latin1 {
		name = walk.UTF8(name)
	}
	if j.knows(name) {
		return true
	}
	if _, ok := j.pending[string(name)]; ok {
		return true
	}
	if len(j.life.Atoms)+len(j.pending) >= unbounded(j.limits.Atoms) {
		j.why = ruleAtoms
		return false
	}
	j.pending[string(name)] = struct{}{}
	return true
}

// knows says whether the host VM has an atom of that name.
func (j *Judge) knows(name []byte) bool {
	if _, ok := j.seen[string(name)]; ok {
		return true
	}
	return j.life.Atoms[string(name)]
}

// commit counts the atoms of a message that is passed on.
func (j *Judge) commit() {
	for a := range j.pending {
		j.life.brought(a)
	}
}

// guestPid lets the guest's own processes pass, and turns what it calls the
// host's into what they are.
func (j *Judge) guestPid(p walk.Pid, body []byte) bool {
	switch p.Node {
	case walk.Guest:
		if p.Creation == j.cfg.Guest.Creation {
			return true
		}
	case walk.Host:
		if real, ok := j.realPid(p); ok {
			real.Put(body)
			return true
		}
		j.why = ruleUnknown
		return false
	}
	j.why = ruleForeign
	return false
}

func (j *Judge) guestRef(r walk.Ref, body []byte) bool {
	switch r.Node {
	case walk.Guest:
		if r.Creation == j.cfg.Guest.Creation {
			return true
		}
	case walk.Host:
		if real, ok := j.realRef(r); ok {
			real.Put(body)
			return true
		}
		j.why = ruleUnknown
		return false
	}
	j.why = ruleForeign
	return false
}

func (j *Judge) hostAtom(name []byte, latin1 bool) bool {
	if latin1 {
		name = walk.UTF8(name)
	}
	if _, ok := j.seen[string(name)]; !ok && len(j.seen) < keepSeen {
		j.seen[string(name)] = struct{}{}
	}
	return true
}

// hostPid shows the host's processes under the link's numbers. What is of
// another node, or of an earlier host, passes as it is.
func (j *Judge) hostPid(p walk.Pid, body []byte) bool {
	if p.Node != walk.Host || p.Creation != j.cfg.Host.Creation {
		return true
	}
	v, ok := j.virtualPid(p)
	if ok && !j.pids.exposed {
		v.Put(body)
	}
	return ok
}

func (j *Judge) hostRef(r walk.Ref, body []byte) bool {
	if r.Node != walk.Host || r.Creation != j.cfg.Host.Creation {
		return true
	}
	v, ok := j.virtualRef(r)
	if ok && !j.refs.exposed {
		v.Put(body)
	}
	return ok
}

// inspect walks the guest's message and returns the rule that it breaks.
func (j *Judge) inspect(payload []byte) string {
	clear(j.pending)
	n, why := j.guest.Walk(payload)
	switch why {
	case walk.OK:
		if n != len(payload) {
			return ruleMalformed
		}
		return ""
	case walk.Tag:
		return ruleTag
	case walk.Depth:
		return ruleDepth
	case walk.Nodes:
		return ruleNodes
	case walk.Integer:
		return ruleInteger
	case walk.Fun:
		return ruleFun
	case walk.Port:
		return rulePort
	case walk.Atom, walk.Ident:
		return j.why
	}
	return ruleMalformed
}

// closes says whether a rule ends the link: what no honest node sends.
func closes(rule string) bool {
	switch rule {
	case ruleMalformed, ruleTag, ruleOpcode, ruleToken, ruleForged, ruleSize, ruleSlow:
		return true
	}
	return false
}
