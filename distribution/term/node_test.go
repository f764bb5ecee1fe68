package term

import (
	"fmt"
	"strings"
	"testing"
)

const located = `%% app
#{name => my_app,
  env => [{port, 80}, debug,
          {"list", [1, 2 | three]}],
  #{k => v} => <<"é"/utf8>>, text => "ab" "c"}.
`

// places lists every node with its place.
func places(n *Node, depth int, out *strings.Builder) {
	fmt.Fprintf(out, "%s%d:%d %s\n", strings.Repeat(" ", depth), n.Line, n.Column, Format(n.Term))
	for _, c := range n.Children {
		places(c, depth+1, out)
	}
}

func TestParseNodes(t *testing.T) {
	nodes, err := ParseNodes([]byte(located))
	if err != nil || len(nodes) != 1 {
		t.Fatalf("%d nodes, %v", len(nodes), err)
	}
	var got strings.Builder
	for _, c := range nodes[0].Children {
		places(c, 0, &got)
	}
	want := `2:3 name
2:11 my_app
3:3 env
3:10 [{port,80},debug,{"list",[1,2|three]}]
 3:11 {port,80}
  3:12 port
  3:18 80
 3:23 debug
 4:11 {"list",[1,2|three]}
  4:12 "list"
  4:20 [1,2|three]
   4:21 1
   4:24 2
   4:28 three
5:3 #{k => v}
 5:5 k
 5:10 v
5:16 <<"é"/utf8>>
5:30 text
5:38 "abc"
`
	if got.String() != want {
		t.Errorf("got\n%swant\n%s", got.String(), want)
	}
}

func TestEntries(t *testing.T) {
	nodes, err := ParseNodes([]byte(located + "[a | b]. {a, 1}. \"ab\". []. [{a, 1, 2}]. [a | [b, {c, d}]]."))
	if err != nil {
		t.Fatal(err)
	}
	env, ok := nodes[0].Get(Atom("env"))
	if !ok || env.Key.Line != 3 || env.Value.Column != 10 {
		t.Fatalf("env: %v at %+v", ok, env)
	}
	port, ok := env.Value.Get(Atom("port"))
	if !ok || port.Value.Term != Int(80) || port.Value.Column != 18 {
		t.Errorf("port: %v, %+v", ok, port.Value)
	}
	debug, ok := env.Value.Get(Atom("debug"))
	if !ok || debug.Value.Term != Atom("true") || debug.Value.Column != 23 {
		t.Errorf("debug: %v, %+v", ok, debug.Value)
	}
	if _, ok := nodes[0].Get(Atom("nothing")); ok {
		t.Error("found a key that is not there")
	}
	for i, want := range []int{-1, -1, -1, 0, -1, 3} {
		entries, ok := nodes[i+1].Entries()
		if ok != (want >= 0) || ok && len(entries) != want {
			t.Errorf("%s: %d entries, %v", Format(nodes[i+1].Term), len(entries), ok)
		}
	}
}
