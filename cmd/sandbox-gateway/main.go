// Command sandbox-gateway carries Erlang distribution between isolated guests
// and the host VM. sandboxd starts it as an unprivileged user with its control
// socket as descriptor 3; it outlives sandboxd and ends by itself when nobody
// needs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"beamsandbox/distribution/gateway"
)

// The descriptors that sandboxd passes: the control socket, this program, which
// was run by its descriptor, and with -inherit a socket to the gateway whose
// members this one takes over.
const (
	controlFD = 3
	programFD = 4
	elderFD   = 5
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "sandbox-gateway:", err)
		os.Exit(1)
	}
}

func run(args []string) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, nil))
	cfg, inherit, err := parse(args)
	if err != nil {
		return err
	}
	cfg.Log = log
	if os.Geteuid() == 0 {
		return errors.New("it parses what guests send and does not run as root: let sandboxd start it, or start it as another user")
	}
	// A control terminal or a full log must not end what guests rely on.
	signal.Ignore(syscall.SIGHUP, syscall.SIGXFSZ, syscall.SIGPIPE)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	_ = syscall.Close(programFD) // not there when somebody else started us
	if err := confine(); err != nil {
		return err
	}
	ln, err := controlSocket()
	if err != nil {
		return err
	}
	server := gateway.New(cfg)
	if inherit {
		if err := takeOver(server); err != nil {
			return err
		}
	}
	log.Info("gateway serves", "pid", os.Getpid(), "uid", os.Geteuid())
	err = server.Serve(ctx, ln)
	log.Info("gateway ends", "err", err)
	return err
}

// takeOver goes on with what an older gateway serves.
func takeOver(server *gateway.Server) error {
	f := os.NewFile(elderFD, "older gateway")
	conn, err := net.FileConn(f)
	f.Close()
	if err != nil {
		return fmt.Errorf("take over the socket to the older gateway (descriptor %d, sandboxd passes it): %w", elderFD, err)
	}
	unix, ok := conn.(*net.UnixConn)
	if !ok {
		conn.Close()
		return fmt.Errorf("take over the socket to the older gateway: descriptor %d is no unix socket", elderFD)
	}
	return server.Inherit(unix)
}

// parse reads the flags.
func parse(args []string) (cfg gateway.Config, inherit bool, err error) {
	flags := flag.NewFlagSet("sandbox-gateway", flag.ContinueOnError)
	epmd := flags.String("epmd", "127.0.0.1:4369", "address of the machine's port mapper")
	listen := flags.String("listen", "127.0.0.1", "addresses where the machine's short name resolves, separated by commas")
	controller := flags.Uint("controller", 0, "user that may use the control socket")
	flags.String("socket", "", "where the control socket was opened: for those who read the process list")
	idle := flags.Duration("idle", 10*time.Second, "ends after so long without members and connections")
	tick := flags.Duration("tick", time.Minute, "net_ticktime of the nodes")
	flags.BoolVar(&inherit, "inherit", false, "take over the members of the gateway at descriptor 5")
	if err := flags.Parse(args); err != nil {
		return cfg, false, err
	}
	if flags.NArg() > 0 {
		return cfg, false, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	cfg = gateway.Config{Controller: uint32(*controller), Idle: *idle, Tick: *tick}
	if cfg.EPMD, err = netip.ParseAddrPort(*epmd); err != nil {
		return cfg, false, fmt.Errorf("read -epmd: %w", err)
	}
	for text := range strings.SplitSeq(*listen, ",") {
		addr, err := netip.ParseAddr(text)
		if err != nil {
			return cfg, false, fmt.Errorf("read -listen: %w", err)
		}
		cfg.Listen = append(cfg.Listen, addr)
	}
	return cfg, inherit, nil
}

// controlSocket takes over the socket that sandboxd opened.
func controlSocket() (*net.UnixListener, error) {
	f := os.NewFile(controlFD, "control socket")
	ln, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("take over control socket (descriptor %d, sandboxd passes it): %w", controlFD, err)
	}
	f.Close()
	unix, ok := ln.(*net.UnixListener)
	if !ok {
		ln.Close()
		return nil, fmt.Errorf("take over control socket: descriptor %d is no unix socket", controlFD)
	}
	return unix, nil
}
