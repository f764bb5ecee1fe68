package main

import (
	"fmt"
	"os"

	"github.com/ergo-services/ergo/etf"
	"github.com/ergo-services/ergo/gen"
)

// rex answers rpc:call of the few functions that sandboxd asks a guest for,
// and hello:say/1.
type rex struct {
	gen.Server
	cookie *cookie
}

// Init has nothing to prepare.
func (*rex) Init(*gen.ServerProcess, ...etf.Term) error { return nil }

// HandleCall answers {call, Module, Function, Args, GroupLeader}.
func (r *rex) HandleCall(p *gen.ServerProcess, _ gen.ServerFrom, request etf.Term) (etf.Term, gen.ServerStatus) {
	t, _ := request.(etf.Tuple)
	if len(t) != 5 || t[0] != etf.Atom("call") {
		return badRPC("unknown_request"), gen.ServerStatusOK
	}
	args, _ := t[3].(etf.List)
	return r.call(p.NodeName(), fmt.Sprintf("%v:%v/%d", t[1], t[2], len(args)), args), gen.ServerStatusOK
}

// HandleInfo ignores what nobody should send.
func (*rex) HandleInfo(*gen.ServerProcess, etf.Term) gen.ServerStatus { return gen.ServerStatusOK }

// call is what one function answers, {badrpc, Reason} for one that is not there.
func (r *rex) call(node, function string, args etf.List) etf.Term {
	switch function {
	case "erlang:node/0":
		return etf.Atom(node)
	case "erlang:get_cookie/0":
		return etf.Atom(r.cookie.get())
	case "erlang:set_cookie/2":
		if secret, ok := args[1].(etf.Atom); ok {
			r.cookie.set(string(secret))
			return etf.Atom("true")
		}
		return badRPC("badarg")
	case "init:get_status/0":
		return etf.Tuple{etf.Atom("started"), etf.Atom("started")}
	case "application:which_applications/0":
		app := etf.Atom(os.Getenv("BEAMSANDBOX_APP"))
		return etf.List{etf.Tuple{app, etf.String("a node in Go"), etf.String("1.0.0")}}
	case "init:stop/0":
		go os.Exit(0)
		return etf.Atom("ok")
	case "hello:say/1":
		return answer(args[0])
	}
	return badRPC("undef")
}

func badRPC(reason string) etf.Term { return etf.Tuple{etf.Atom("badrpc"), etf.Atom(reason)} }

// netKernel answers {is_auth, Node}, the question of net_adm:ping/1.
type netKernel struct{ gen.Server }

// Init has nothing to prepare.
func (*netKernel) Init(*gen.ServerProcess, ...etf.Term) error { return nil }

// HandleCall says yes: who asks is connected.
func (*netKernel) HandleCall(*gen.ServerProcess, gen.ServerFrom, etf.Term) (etf.Term, gen.ServerStatus) {
	return etf.Atom("yes"), gen.ServerStatusOK
}

// HandleInfo ignores what nobody should send.
func (*netKernel) HandleInfo(*gen.ServerProcess, etf.Term) gen.ServerStatus {
	return gen.ServerStatusOK
}

// hello is a gen_server: gen_server:call({hello, Node}, Name).
type hello struct{ gen.Server }

// Init has nothing to prepare.
func (*hello) Init(*gen.ServerProcess, ...etf.Term) error { return nil }

// HandleCall greets whoever is named.
func (*hello) HandleCall(_ *gen.ServerProcess, _ gen.ServerFrom, request etf.Term) (etf.Term, gen.ServerStatus) {
	return answer(request), gen.ServerStatusOK
}

// HandleInfo ignores what nobody should send.
func (*hello) HandleInfo(*gen.ServerProcess, etf.Term) gen.ServerStatus { return gen.ServerStatusOK }

func answer(name etf.Term) etf.Term {
	return etf.Tuple{etf.Atom("hello"), name, []byte("from a node in Go")}
}
