package stack

import (
	"fmt"
	"path/filepath"
	"strings"
)

// disabled are containerd's plugins that nothing here uses: they cost start
// time, open doors (CRI, NRI, debug) or restart tasks behind our back.
var disabled = []string{
	"io.containerd.cri.v1.images",
	"io.containerd.cri.v1.runtime",
	"io.containerd.grpc.v1.cri",
	"io.containerd.podsandbox.controller.v1.podsandbox",
	"io.containerd.nri.v1.nri",
	"io.containerd.monitor.container.v1.restart",
	"io.containerd.image-verifier.v1.bindir",
	"io.containerd.transfer.v1.local",
	"io.containerd.grpc.v1.transfer",
	"io.containerd.tracing.processor.v1.otlp",
	"io.containerd.internal.v1.tracing",
	"io.containerd.ttrpc.v1.otelttrpc",
	"io.containerd.metrics.v1.grpc-prometheus",
	"io.containerd.metrics.v1.grpc-otel",
	"io.containerd.http.v1.pprof",
	"io.containerd.server.v1.debug",
	"io.containerd.server.v1.metrics",
	"io.containerd.server.v1.grpc-tcp",
	"io.containerd.snapshotter.v1.blockfile",
	"io.containerd.snapshotter.v1.btrfs",
	"io.containerd.snapshotter.v1.devmapper",
	"io.containerd.snapshotter.v1.erofs",
	"io.containerd.snapshotter.v1.zfs",
	"io.containerd.differ.v1.erofs",
	"io.containerd.mount-handler.v1.erofs",
}

// socketDir is where shims listen, below the run directory.
const socketDir = "s"

// render is the configuration of our containerd (containerd-config.toml(5),
// version 4). sync_remove: a removed guest leaves no files to a later sweep.
func render(cfg Config) string {
	run := func(name string) string { return filepath.Join(cfg.RunDir, name) }
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by sandboxd; changes are lost.\nversion = 4\nroot = %q\nstate = %q\n",
		filepath.Join(cfg.Root, "containerd"), run("state"))
	b.WriteString("disabled_plugins = [\n")
	for _, name := range disabled {
		fmt.Fprintf(&b, "  %q,\n", name)
	}
	b.WriteString("]\n")
	table := func(plugin string, line string, args ...any) {
		fmt.Fprintf(&b, "[plugins.%q]\n  %s\n", plugin, fmt.Sprintf(line, args...))
	}
	table("io.containerd.server.v1.grpc", "address = %q", run("containerd.sock"))
	table("io.containerd.server.v1.ttrpc", "address = %q", run("containerd.sock.ttrpc"))
	table("io.containerd.shim.v1.manager", "socket_dir = %q", run(socketDir))
	table("io.containerd.snapshotter.v1.overlayfs", "sync_remove = true")
	return b.String()
}
