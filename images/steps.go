package images

import (
	"fmt"
	"strings"
	"time"
)

// A step is a part of a build, as its log names it.
type step string

// The steps of a build, in this order. What the tools do is told apart by
// what they print: resolve, compile and release may take turns.
const (
	stepFetch   step = "fetch"   // the source
	stepResolve step = "resolve" // versions of dependencies, and the dependencies themselves
	stepCompile step = "compile"
	stepRelease step = "release" // the tool puts the release together
	stepCheck   step = "check"   // what was built is taken over from the builder
	stepPack    step = "pack"    // layers, bill of materials
)

// heard are the beginnings of the lines that rebar3 and mix print when they
// go on to something else: rebar3's first, then mix's.
var heard = []struct {
	begins string
	step   step
}{
	{"Verifying dependencies", stepResolve}, {"Fetching ", stepResolve}, {"Getting ", stepResolve},
	{"Analyzing applications", stepCompile}, {"Assembling release", stepRelease}, {"Release ", stepRelease},
	{"Resolving Hex dependencies", stepResolve}, {"* Getting ", stepResolve}, {"* Updating ", stepResolve},
	{"==> ", stepCompile}, {"Compiling ", stepCompile}, {"Generated ", stepCompile}, {"* assembling ", stepRelease},
}

// steps knows the step that a build is in and what the earlier ones took.
type steps struct {
	now   func() time.Time
	at    step
	since time.Time
	all   []timed
}

type timed struct {
	step step
	took time.Duration
}

// hear follows the build tool by a line that it printed. Outside of its part
// of the build nothing is heard: these are the words of the source's authors.
func (s *steps) hear(line string) {
	if s.at != stepResolve && s.at != stepCompile && s.at != stepRelease {
		return
	}
	line = strings.TrimPrefix(line, "===> ") // which rebar3 prints to terminals alone
	for _, h := range heard {
		if strings.HasPrefix(line, h.begins) {
			s.enter(h.step)
			return
		}
	}
}

// enter goes on to a step; to the one it is in, nothing happens.
func (s *steps) enter(next step) {
	if next == s.at {
		return
	}
	s.leave()
	s.at = next
}

func (s *steps) leave() {
	now := s.now()
	took := now.Sub(s.since)
	s.since = now
	if s.at == "" {
		return
	}
	for i := range s.all {
		if s.all[i].step == s.at {
			s.all[i].took += took
			return
		}
	}
	s.all = append(s.all, timed{s.at, took})
}

// took is the time of each step so far, "fetch 0.1s, compile 2.3s".
func (s *steps) took() string {
	s.leave()
	var out []string
	for _, t := range s.all {
		out = append(out, fmt.Sprintf("%s %.1fs", t.step, t.took.Seconds()))
	}
	return strings.Join(out, ", ")
}
