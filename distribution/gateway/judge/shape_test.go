package judge

import (
	"runtime"
	"syscall"
	"testing"
	"time"

	"beamsandbox/distribution/term"
	"beamsandbox/distribution/wire"
	"beamsandbox/distribution/wire/walk"
)

// TestNestedMessagesAreReadOnce: what a message costs grows with its size, not
// with its size times its depth.
func TestNestedMessagesAreReadOnce(t *testing.T) {
	flat, deep := nested(t, 1), nested(t, 60)
	if f, d := cost(func() { look(t, flat) }), cost(func() { look(t, deep) }); d > 5*f {
		t.Errorf("a message of depth 60 takes %v, one of depth 1 takes %v", d, f)
	}
}

func look(t *testing.T, message []byte) {
	if poses(walk.Reader{B: message}) {
		t.Fatal("a harmless message poses as one of the system's")
	}
}

// nested is a tuple of as many small tuples, so many levels down.
func nested(t *testing.T, depth int) []byte {
	t.Helper()
	leaves := make(term.Tuple, 60_000)
	for i := range leaves {
		leaves[i] = tup(term.Int(1), term.Int(2))
	}
	var message term.Term = leaves
	for range depth {
		message = tup(atom("a"), message)
	}
	b, err := term.AppendBare(nil, message)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// cost is the time of this thread's own that f takes 20 times, which some
// kernels count in steps of milliseconds.
func cost(f func()) time.Duration {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	before := spent()
	for range 20 {
		f()
	}
	return max(spent()-before, 20*time.Millisecond)
}

func spent() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(1, &u); err != nil { // RUSAGE_THREAD
		panic(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestWordsAreFoundAtAnyDepth: in every place of a tuple inside tuples.
func TestWordsAreFoundAtAnyDepth(t *testing.T) {
	bad := tup(atom("$gen_cast"), atom("x"))
	for depth := range 60 {
		for place := range 3 {
			message := tup(tup(term.Int(1)), tup(), tup(atom("b"), tup()))
			message[place] = bad
			whole := term.Term(message)
			for range depth {
				whole = tup(tup(atom("a"), tup(term.Int(1))), whole, list(term.Int(1)))
			}
			b, err := term.AppendBare(nil, whole)
			if err != nil {
				t.Fatal(err)
			}
			if !poses(walk.Reader{B: b}) {
				t.Fatalf("not found at depth %d, place %d", depth, place)
			}
		}
	}
}

// TestLeavesOfManyGroups: a leave costs no more than all of its names, or all
// of its processes.
func TestLeavesOfManyGroups(t *testing.T) {
	g := newGroupsGround(t)
	g.step(0, 0)
	g.step(2, 0b001_001) // workers: 1
	many := func(n int, e func(i int) term.Term) term.List {
		var l term.List
		for i := range n {
			l.Elems = append(l.Elems, e(i))
		}
		return l
	}
	strangers := func(i int) term.Term { return gpid(1000 + uint32(i)) }
	to := []term.Term{atom(""), g.server}
	leave := func(pids, groups term.List) Verdict {
		return g.guest(wire.OpSend, to, tup(atom("leave"), gpid(80), pids, groups))
	}
	workers := func(int) term.Term { return atom("workers") }
	g.refused(leave(many(1000, strangers), many(1000, workers)), Drop, ruleGrants)
	other := func(i int) term.Term { return atom("ok") }
	one := g.frame(wire.OpSend, to, tup(atom("leave"), gpid(80), many(1, strangers), many(40_000, other)))
	most := g.frame(wire.OpSend, to, tup(atom("leave"), gpid(80), many(1000, strangers), many(40_000, other)))
	j := g.heir()
	judge := func(frame []byte) func() { return func() { j.FromGuest(g.now, frame) } }
	if f, d := cost(judge(one)), cost(judge(most)); d > 5*f {
		t.Errorf("a leave of 1000 processes takes %v, of one %v", d, f)
	}
	// A process that joined a group more than once leaves it as often, at once.
	join := tup(atom("join"), gpid(80), atom("workers"), list(gpid(5), gpid(5), gpid(5)))
	g.passes(g.guest(wire.OpSend, to, join), wire.OpSend, []term.Term{atom(""), hpid(70)}, join)
	end := tup(atom("leave"), gpid(80), gpid(5), many(3, workers))
	g.passes(g.guest(wire.OpSend, to, end), wire.OpSend, []term.Term{atom(""), hpid(70)}, end)
	g.refused(g.guest(wire.OpSend, to, end), Drop, ruleGroup)
}

// TestStructsTakeNoMemory: a struct is looked at in place.
func TestStructsTakeNoMemory(t *testing.T) {
	b, err := term.AppendBare(nil, tup(atom("stats"), socketBroadcast("t", "new", term.Map{}), atom("more")))
	if err != nil {
		t.Fatal(err)
	}
	if n := testing.AllocsPerRun(100, func() { look(t, b) }); n != 0 {
		t.Errorf("a look takes %v allocations", n)
	}
}
