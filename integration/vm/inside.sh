#!/bin/bash
# Runs inside the virtual machine, as vm.service: installs what the payload
# disk carries, then plays what the kernel's command line asks for.
set -uo pipefail
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

install -d /usr/local/bin /usr/local/libexec /etc/beamsandbox
ln -s /payload/usr/local/bin/* /usr/local/bin/
ln -s /payload/usr/local/libexec/beamsandbox /usr/local/libexec/beamsandbox
install -m 644 /payload/sandboxd.service /etc/systemd/system/sandboxd.service
systemctl daemon-reload

play() {
  echo "vm: $1"
  shift
  if "$@"; then
    echo "vm: done after $SECONDS s"
  else
    echo "vm: failed after $SECONDS s"
    journalctl -q --no-pager -o cat -u sandboxd | tail -40
    tail -n 20 /var/lib/sandboxd/containerd/containerd.log 2>/dev/null
    exit 1
  fi
}

for act in $(sed -n 's/.*vm.play=\([a-z,]*\).*/\1/p' /proc/cmdline | tr , ' '); do
  case $act in
  service) play "sandboxd as a service of systemd" /payload/inside -bin /payload/bin -examples /payload/examples ;;
  demo) play "the demo" /payload/demo -bin /payload/bin -examples /payload/examples -cache /var/lib/demo -patience 12 ;;
  runtime) play "the tests of runtime" env -C /payload/runtime /payload/runtime.test -test.timeout 40m ;;
  shell) exec setsid bash -i </dev/ttyS0 >/dev/ttyS0 2>&1 ;;
  esac
done
echo "vm: passed"
