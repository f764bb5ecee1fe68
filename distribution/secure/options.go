package secure

import (
	"beamsandbox/distribution/term"
)

// Options is the text of a file for -ssl_dist_optfile: a BEAM that is started
// with it proves the certificate and key of nodeFile to everybody, and speaks
// with those alone who prove one of caFile's.
func Options(caFile, nodeFile string) string {
	pair := func(key string, value term.Term) term.Term { return term.Tuple{term.Atom(key), value} }
	common := []term.Term{
		pair("certfile", term.String(nodeFile)), pair("keyfile", term.String(nodeFile)), pair("cacertfile", term.String(caFile)),
		pair("verify", term.Atom("verify_peer")), pair("secure_renegotiate", term.Atom("true")),
		pair("versions", term.List{Elems: []term.Term{term.Atom("tlsv1.3"), term.Atom("tlsv1.2")}}),
	}
	server := append([]term.Term{pair("fail_if_no_peer_cert", term.Atom("true"))}, common...)
	return string(term.WriteConsult(term.List{Elems: []term.Term{
		pair("server", term.List{Elems: server}), pair("client", term.List{Elems: common}),
	}}))
}
