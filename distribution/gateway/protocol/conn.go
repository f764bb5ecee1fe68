package protocol

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
)

const (
	// MaxMessage bounds one message, in bytes of JSON.
	MaxMessage = 32 << 20
	// MaxSockets bounds the sockets beside one message; the kernel takes 253.
	MaxSockets = 192
)

// Write sends one message: four bytes of big-endian length and v as JSON.
// Files travel beside the first byte (unix(7), SCM_RIGHTS) and stay open here.
func Write(c *net.UnixConn, v any, files ...*os.File) error {
	fds := make([]int, len(files))
	for i, f := range files {
		fds[i] = int(f.Fd())
	}
	return write(c, v, fds)
}

// WriteSockets is Write for sockets in use: they stay as they are here, too.
func WriteSockets(c *net.UnixConn, v any, sockets ...syscall.Conn) error {
	var fds []int
	defer func() {
		for _, fd := range fds {
			_ = syscall.Close(fd)
		}
	}()
	for _, s := range sockets {
		fd, err := twin(s)
		if err != nil {
			return fmt.Errorf("pass socket: %w", err)
		}
		fds = append(fds, fd)
	}
	return write(c, v, fds)
}

// twin is another descriptor of a socket; that of its File would block.
func twin(s syscall.Conn) (fd int, err error) {
	raw, err := s.SyscallConn()
	if err != nil {
		return 0, err
	}
	if ctl := raw.Control(func(its uintptr) { fd, err = syscall.Dup(int(its)) }); ctl != nil {
		return 0, ctl
	}
	return fd, err
}

func write(c *net.UnixConn, v any, fds []int) error {
	if len(fds) > MaxSockets {
		return fmt.Errorf("encode message: %d sockets, at most %d fit", len(fds), MaxSockets)
	}
	body, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode message: %w", err)
	}
	if len(body) > MaxMessage {
		return fmt.Errorf("encode message: %d bytes, at most %d fit", len(body), MaxMessage)
	}
	msg := append(binary.BigEndian.AppendUint32(nil, uint32(len(body))), body...)
	var rights []byte
	if len(fds) > 0 {
		rights = syscall.UnixRights(fds...)
	}
	n, _, err := c.WriteMsgUnix(msg, rights, nil)
	// A write of nothing would still fail where the peer has answered and gone.
	if err != nil || n == len(msg) {
		return err
	}
	_, err = c.Write(msg[n:])
	return err
}

// Read receives one message into v and the files passed beside it, which the
// caller closes. It returns io.EOF when the peer is done.
func Read(c *net.UnixConn, v any) ([]*os.File, error) {
	var head [4]byte
	files, err := readHead(c, head[:])
	if err != nil {
		closeAll(files)
		return nil, err
	}
	if err := readBody(c, binary.BigEndian.Uint32(head[:]), v); err != nil {
		closeAll(files)
		return nil, err
	}
	return files, nil
}

// readHead reads the length and, with its first byte, the passed files.
func readHead(c *net.UnixConn, head []byte) ([]*os.File, error) {
	oob := make([]byte, syscall.CmsgSpace(MaxSockets*4))
	n, oobn, _, _, err := c.ReadMsgUnix(head, oob)
	if err != nil {
		return nil, err
	}
	if n == 0 {
		return nil, io.EOF
	}
	files, err := passedFiles(oob[:oobn])
	if err != nil {
		return files, err
	}
	if _, err = io.ReadFull(c, head[n:]); errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return files, err
}

func readBody(c *net.UnixConn, size uint32, v any) error {
	if size > MaxMessage {
		return fmt.Errorf("read message: %d bytes announced, at most %d fit", size, MaxMessage)
	}
	body, err := io.ReadAll(io.LimitReader(c, int64(size)))
	if err != nil {
		return err
	}
	if len(body) < int(size) {
		return io.ErrUnexpectedEOF
	}
	if err := json.Unmarshal(body, v); err != nil {
		return fmt.Errorf("read message: %w", err)
	}
	return nil
}

// passedFiles turns the control bytes of one recvmsg into files.
func passedFiles(oob []byte) ([]*os.File, error) {
	messages, err := syscall.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, fmt.Errorf("read passed sockets: %w", err)
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			return files, fmt.Errorf("read passed sockets: %w", err)
		}
		for _, fd := range fds {
			files = append(files, os.NewFile(uintptr(fd), "passed socket"))
		}
	}
	return files, nil
}

func closeAll(files []*os.File) {
	for _, f := range files {
		f.Close()
	}
}

// Ask sends one request over a connection of its own and returns the answer.
// The gateway gives up on the request when ctx ends. An answer with Error set
// is returned together with that error.
func Ask(ctx context.Context, socket string, req Request, files ...*os.File) (Response, error) {
	c, err := Open(ctx, socket, req, files...)
	if err != nil {
		return Response{}, err
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	var resp Response
	if _, err := Read(c, &resp); err != nil {
		if ctx.Err() != nil {
			return Response{}, fmt.Errorf("ask gateway to %s: %w", req.Op, ctx.Err())
		}
		return Response{}, fmt.Errorf("ask gateway to %s: read answer: %w", req.Op, err)
	}
	if resp.Error != "" {
		return resp, errors.New(resp.Error)
	}
	return resp, nil
}

// Open connects and sends one request; the caller reads what comes back.
func Open(ctx context.Context, socket string, req Request, files ...*os.File) (*net.UnixConn, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", socket)
	if err != nil {
		return nil, fmt.Errorf("reach gateway: %w", err)
	}
	c := conn.(*net.UnixConn)
	if err := Write(c, req, files...); err != nil {
		c.Close()
		return nil, fmt.Errorf("ask gateway to %s: %w", req.Op, err)
	}
	return c, nil
}
