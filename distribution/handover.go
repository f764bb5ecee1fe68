package distribution

import (
	"context"
	"fmt"
	"os"
	"syscall"

	"beamsandbox/distribution/gateway/protocol"
)

// nextSuffix is added to the control socket of a gateway that takes over from
// another one, until it has.
const nextSuffix = ".next"

// next is the control socket of a gateway that takes over.
func (g *Gateway) next() string { return g.socket + nextSuffix }

// handOver starts a gateway of the installed program that takes over the
// members of the one that answers, links and all. When that fails the older
// one goes on as before, and the other one ends by itself.
func (g *Gateway) handOver(ctx context.Context) error {
	elder, heir, err := socketPair()
	if err != nil {
		return fmt.Errorf("make a socket between two gateways: %w", err)
	}
	defer elder.Close()
	defer heir.Close()
	if err := g.spawn(g.next(), heir); err != nil {
		return fmt.Errorf("start %s: %w", g.cfg.Binary, err)
	}
	heir.Close() // so that its end shows when the process ends
	_, err = protocol.Ask(ctx, g.socket, protocol.Request{Op: protocol.OpHandOver}, elder)
	elder.Close()
	if moved := g.finishHandOver(ctx); moved {
		return nil
	}
	if err == nil {
		err = fmt.Errorf("the new gateway does not answer, see %s", g.logPath())
	}
	return err
}

// finishHandOver says whether a gateway has taken over from another one, and
// has it answer where it should: it may be that of a sandboxd that was killed
// meanwhile.
func (g *Gateway) finishHandOver(ctx context.Context) bool {
	if _, err := os.Stat(g.next()); err != nil {
		return false
	}
	resp, err := protocol.Ask(ctx, g.next(), protocol.Request{Op: protocol.OpHello})
	if err != nil || resp.Hello == nil { // it has not, and ended
		_ = os.Remove(g.next())
		return false
	}
	if err := os.Rename(g.next(), g.socket); err != nil {
		g.cfg.Log.Error("the control socket of a gateway that took over does not move", "err", err)
		return false
	}
	return true
}

// socketPair is two ends of a connection, for two processes.
func socketPair() (a, b *os.File, err error) {
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "older gateway's end"), os.NewFile(uintptr(fds[1]), "newer gateway's end"), nil
}
