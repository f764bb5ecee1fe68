package epmd

import (
	"bufio"
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// answerTimeout bounds one question when the context has no earlier deadline.
const answerTimeout = 5 * time.Second

// Lease is a name held at a port mapper. It lasts as long as its connection.
type Lease struct {
	Registration
	Creation uint32 // handed out by the port mapper

	conn  net.Conn
	close sync.Once
	done  chan struct{}
}

// Register asks the port mapper at addr for a name and holds it until Close.
// It is ErrNotRunning when nobody listens and ErrNameTaken when the name has
// a living holder.
func Register(ctx context.Context, addr netip.AddrPort, r Registration) (*Lease, error) {
	r = r.withDefaults()
	if err := r.check(); err != nil {
		return nil, fmt.Errorf("register at epmd: %w", err)
	}
	conn, err := ask(ctx, addr, appendNode([]byte{codeAlive}, r))
	if err != nil {
		return nil, fmt.Errorf("register %s at epmd %s: %w", r.Name, addr, err)
	}
	creation, err := readAlive(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("register %s at epmd %s: %w", r.Name, addr, err)
	}
	_ = conn.SetDeadline(time.Time{})
	l := &Lease{Registration: r, Creation: creation, conn: conn, done: make(chan struct{})}
	go l.watch()
	return l, nil
}

// watch waits for the end of the connection; the daemon never says anything
// more on it.
func (l *Lease) watch() {
	defer close(l.done)
	_, _ = io.Copy(io.Discard, l.conn)
	l.close.Do(func() { l.conn.Close() })
}

// Done is closed when the name is no longer held: the port mapper went away,
// or Close was called.
func (l *Lease) Done() <-chan struct{} { return l.done }

// Close lets go of the name. Further calls do nothing.
func (l *Lease) Close() error {
	var err error
	l.close.Do(func() { err = l.conn.Close() })
	<-l.done
	return err
}

// Lookup asks the port mapper at addr where a node listens. It is
// ErrNotFound when no node of that name is registered.
func Lookup(ctx context.Context, addr netip.AddrPort, name string) (Info, error) {
	if err := checkName(name); err != nil {
		return Info{}, fmt.Errorf("ask epmd: %w", err)
	}
	conn, err := ask(ctx, addr, append([]byte{codePort}, name...))
	if err != nil {
		return Info{}, fmt.Errorf("ask epmd %s for %s: %w", addr, name, err)
	}
	defer conn.Close()
	info, err := readPort(conn)
	if err != nil {
		return Info{}, fmt.Errorf("ask epmd %s for %s: %w", addr, name, err)
	}
	return info, nil
}

// Names lists the nodes that the port mapper at addr knows.
func Names(ctx context.Context, addr netip.AddrPort) ([]Entry, error) {
	conn, err := ask(ctx, addr, []byte{codeNames})
	if err != nil {
		return nil, fmt.Errorf("ask epmd %s for names: %w", addr, err)
	}
	defer conn.Close()
	answer, err := io.ReadAll(io.LimitReader(conn, maxAnswer+1))
	if err != nil {
		return nil, fmt.Errorf("ask epmd %s for names: %w", addr, err)
	}
	entries, err := parseNames(answer)
	if err != nil {
		return nil, fmt.Errorf("ask epmd %s for names: %w", addr, err)
	}
	return entries, nil
}

// ask connects, sends one request behind its length and sets the deadline for
// the answer.
func ask(ctx context.Context, addr netip.AddrPort, request []byte) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", addr.String())
	if errors.Is(err, syscall.ECONNREFUSED) {
		return nil, ErrNotRunning
	}
	if err != nil {
		return nil, err
	}
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	frame := append(binary.BigEndian.AppendUint16(nil, uint16(len(request))), request...)
	if _, err := conn.Write(frame); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// readAlive reads ALIVE2_X_RESP (118 Result:8 Creation:32) or ALIVE2_RESP
// (121 Result:8 Creation:16).
func readAlive(r io.Reader) (creation uint32, err error) {
	var b [6]byte
	if _, err := io.ReadFull(r, b[:4]); err != nil {
		return 0, noAnswer(err)
	}
	if b[0] != codeAliveResp && b[0] != codeAliveXResp {
		return 0, fmt.Errorf("answer begins with byte %d, is that a port mapper?", b[0])
	}
	if b[1] != 0 {
		return 0, ErrNameTaken
	}
	if b[0] == codeAliveResp {
		return uint32(binary.BigEndian.Uint16(b[2:])), nil
	}
	if _, err := io.ReadFull(r, b[4:]); err != nil {
		return 0, noAnswer(err)
	}
	return binary.BigEndian.Uint32(b[2:]), nil
}

// readPort reads PORT2_RESP: 119 Result:8, and a node when Result is 0.
func readPort(r io.Reader) (Info, error) {
	answer, err := io.ReadAll(io.LimitReader(r, maxRequest+2))
	if err != nil {
		return Info{}, err
	}
	if len(answer) < 2 {
		return Info{}, noAnswer(io.EOF)
	}
	if answer[0] != codePortResp {
		return Info{}, fmt.Errorf("answer begins with byte %d, is that a port mapper?", answer[0])
	}
	if answer[1] != 0 {
		return Info{}, ErrNotFound
	}
	info, err := parseNode(answer[2:])
	if err != nil {
		return Info{}, fmt.Errorf("read answer: %w", err)
	}
	return info, nil
}

// parseNames reads EPMDPortNo:32 and lines "name NAME at port PORT\n".
func parseNames(answer []byte) ([]Entry, error) {
	if len(answer) < 4 {
		return nil, noAnswer(io.EOF)
	}
	if len(answer) > maxAnswer {
		return nil, fmt.Errorf("answer is over the limit of %d bytes", maxAnswer)
	}
	var entries []Entry
	lines := bufio.NewScanner(bytes.NewReader(answer[4:]))
	for lines.Scan() {
		f := bytes.Fields(lines.Bytes())
		if len(f) != 5 || string(f[0]) != "name" {
			return nil, fmt.Errorf("read answer: line %q is not \"name … at port …\"", lines.Text())
		}
		port, err := strconv.ParseUint(string(f[4]), 10, 16)
		if err != nil {
			return nil, fmt.Errorf("read answer: line %q: %w", lines.Text(), err)
		}
		entries = append(entries, Entry{Name: string(f[1]), Port: uint16(port)})
	}
	return entries, lines.Err()
}

// noAnswer explains a connection that ended early: the stock daemon closes
// those that it does not want to serve.
func noAnswer(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("closed without an answer; a port mapper registers only nodes of its own machine")
	}
	return err
}
