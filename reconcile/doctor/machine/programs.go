package machine

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"

	"beamsandbox/reconcile/status"
)

// programs checks the stack that guests run under.
func (c Config) programs(ctx context.Context) []status.Check {
	if c.Bin == "" {
		return []status.Check{status.Bad("programs", "sandbox-gateway is neither beside this program nor under libexec", "run 'make install', or 'make build' in a checkout")}
	}
	if missing := c.missing(); len(missing) > 0 {
		return []status.Check{status.Bad("programs", fmt.Sprintf("%s: no %s", c.Bin, strings.Join(missing, ", ")), "run 'make install', or 'make setup build' in a checkout")}
	}
	checks := []status.Check{status.Good("programs", "complete in "+c.Bin)}
	runc := filepath.Join(c.Bin, "runc")
	if c.Containerd == "" {
		checks = append(checks, containerd(ask(ctx, filepath.Join(c.Bin, "containerd"))))
	} else {
		checks = append(checks, socket(c.Containerd))
		runc, _ = exec.LookPath("runc") //nolint:errcheck // "" says it
	}
	return append(checks, runcCheck(ask(ctx, runc)))
}

// missing are the programs that are not there or cannot be run.
func (c Config) missing() []string {
	names := []string{"sandbox-gateway"}
	if c.Containerd == "" {
		names = append(names, "containerd", "containerd-shim-runc-v2", "runc")
	}
	var missing []string
	for _, n := range names {
		if info, err := os.Stat(filepath.Join(c.Bin, n)); err != nil || info.Mode()&0o111 == 0 {
			missing = append(missing, n)
		}
	}
	return missing
}

// ask runs path --version and returns its first line.
func ask(ctx context.Context, path string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, "--version")
	cmd.WaitDelay = patience
	out, err := cmd.Output()
	line, _, _ := strings.Cut(string(out), "\n")
	return strings.TrimSpace(line), err
}

func containerd(said string, err error) status.Check {
	const name = "containerd"
	if err != nil {
		return status.Bad(name, "does not run: "+err.Error(), "run 'make install' again")
	}
	if _, ok := numbers(said); !ok {
		return status.Doubtful(name, fmt.Sprintf("says %.80q of its version", said), "run 'make install' again")
	}
	return status.Good(name, said)
}

func socket(path string) status.Check {
	const name = "containerd"
	info, err := os.Stat(path)
	if err != nil || info.Mode()&os.ModeSocket == 0 {
		return status.Bad(name, path+" is no socket", "start the machine's containerd, or remove sandboxd.containerd from the configuration to use our own")
	}
	return status.Good(name, "the machine's, at "+path)
}

// runcCheck refuses versions with known ways out of a container:
// CVE-2025-31133, -52565 and -52881, mended in 1.2.8, 1.3.3 and 1.4.0.
func runcCheck(said string, err error) status.Check {
	const name = "runc"
	if err != nil {
		return status.Bad(name, "does not run: "+err.Error(), "run 'make install' again, or install runc beside the machine's containerd")
	}
	v, ok := numbers(said)
	if !ok {
		return status.Doubtful(name, fmt.Sprintf("says %.80q of its version", said), "see that it is 1.2.8, 1.3.3 or later")
	}
	if v[0] < 1 || v[0] == 1 && (v[1] < 2 || v[1] == 2 && v[2] < 8 || v[1] == 3 && v[2] < 3) {
		return status.Bad(name, said+" has known ways out of a container (CVE-2025-31133, -52565, -52881)", "upgrade it to 1.2.8, 1.3.3 or later, or use our own containerd")
	}
	return status.Good(name, said)
}

// numbers reads the first version, "1.3.3", in text.
func numbers(text string) (v [3]int, ok bool) {
	found := regexp.MustCompile(`\d+\.\d+\.\d+`).FindString(text)
	n, err := fmt.Sscanf(found, "%d.%d.%d", &v[0], &v[1], &v[2])
	return v, n == 3 && err == nil
}

// erlang looks for the OTP that the runtime layer is made of.
func (c Config) erlang() status.Check {
	const name = "erlang"
	root := c.Erlang
	if root == "" {
		erl, err := exec.LookPath("erl")
		if err != nil {
			return status.Doubtful(name, "no erl on PATH", "install Erlang/OTP, or name its root (sandboxd.erlang): nothing can be built; guests that run go on")
		}
		if erl, err = filepath.EvalSymlinks(erl); err != nil {
			return status.Doubtful(name, err.Error(), "install Erlang/OTP again")
		}
		root = filepath.Dir(filepath.Dir(erl))
	}
	// start_erl.data holds "ERTS RELEASE".
	data, err := os.ReadFile(filepath.Join(root, "releases", "start_erl.data"))
	f := strings.Fields(string(data))
	if err != nil || len(f) != 2 {
		return status.Doubtful(name, root+" is no Erlang/OTP root", "name the right one (sandboxd.erlang)")
	}
	return status.Good(name, fmt.Sprintf("OTP %s in %s", f[1], root))
}
