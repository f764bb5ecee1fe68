#!/bin/bash
# Runs inside the virtual machine, as vm.service: installs what the payload
# disk carries, then plays what the kernel's command line asks for. After a
# reboot it goes on where it was.
set -uo pipefail
export HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
played=/var/lib/vm-played
trap 'systemctl poweroff --force' EXIT

echo # below what the firmware wrote
if [ ! -e $played ]; then
  install -d /usr/local/libexec /etc/beamsandbox
  ln -s /payload/usr/local/bin/* /usr/local/bin/
  ln -s /payload/usr/local/libexec/beamsandbox /usr/local/libexec/beamsandbox
  cp /payload/sandboxd.service /etc/systemd/system/
  systemctl daemon-reload
  touch $played
fi

play() {
  local act=$1
  shift
  grep -qx "$act" $played && return
  if grep -qx "$act began" $played; then
    echo "vm: the machine died during $act"
    exit 1
  fi
  echo "$act began" >>$played
  sync
  echo "vm: $act"
  local began=$SECONDS
  if ! "$@"; then
    echo "vm: $act failed after $((SECONDS - began)) s"
    journalctl -q --no-pager -o cat -b -u sandboxd | tail -40
    tail -n 20 /var/lib/sandboxd/containerd/containerd.log
    exit 1
  fi
  echo "vm: $act took $((SECONDS - began)) s"
  echo "$act" >>$played
}

reboot() {
  trap - EXIT
  systemctl --no-block reboot
  exit 0
}

inside() { /payload/inside -bin /payload/bin -examples /payload/examples -act "$1"; }

for act in $(sed -n 's/.*vm.play=\([a-z,]*\).*/\1/p' /proc/cmdline | tr , ' '); do
  case $act in
  service) play service inside service ;;
  reboot)
    grep -qx before $played || { play before inside before && reboot; }
    play after inside after
    ;;
  single)
    sysctl -q -w user.max_user_namespaces=0
    play single inside single
    sysctl -q -w user.max_user_namespaces=10000
    ;;
  demo) play demo /payload/demo -bin /payload/bin -examples /payload/examples -cache /var/lib/demo -patience 12 ;;
  shell) setsid bash -i </dev/ttyS0 >/dev/ttyS0 2>&1 ;;
  esac
done
echo "vm: passed"
