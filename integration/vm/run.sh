#!/bin/bash
# Runs beamsandbox in a virtual machine of Debian 12 with systemd and cgroup
# v2: sandboxd as a service, a reboot, the demo. Under emulation that takes a
# quarter of an hour for each kernel. What it takes long to make is kept in
# build/vm; the machine itself is thrown away. It has no network.
#
#   VM_KERNELS  "6.1 6.12": Debian 12's own, and Debian 13's
#   VM_PLAY     "service,reboot,single,demo"; single: guests without user
#               namespaces; "shell" to look around
#   VM_ACCEL    "tcg": emulation, which works everywhere; "kvm"
#   VM_CACHE    build/vm
set -euo pipefail
shopt -s nullglob
here=$(cd "$(dirname "$0")" && pwd)
top=$(cd "$here/../.." && pwd)
cache=${VM_CACHE:-$top/build/vm}
kernels=${VM_KERNELS:-6.1 6.12}
play=${VM_PLAY:-service,reboot,single,demo}
accel=${VM_ACCEL:-tcg}
cpu=max
# QEMU 7.2 emulates this instruction wrongly on the stack of Linux 6.12.
[ "$accel" = tcg ] && cpu=max,-cx16
log() { echo "vm: $*"; }
die() { echo "vm: $*" >&2; exit 1; }

tools() {
  local missing=()
  command -v qemu-system-x86_64 >/dev/null || missing+=(qemu-system-x86)
  command -v debootstrap >/dev/null || missing+=(debootstrap)
  command -v mke2fs >/dev/null || missing+=(e2fsprogs)
  [ ${#missing[@]} = 0 ] && return
  log "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

# What guests and their builds need, and what boots the machine.
packages=systemd-sysv,udev,dbus,kmod,procps,iproute2,git,ca-certificates,libseccomp2
packages+=,initramfs-tools-core,busybox
packages+=,erlang-base,erlang-dev,erlang-crypto,erlang-public-key,erlang-ssl,erlang-asn1
packages+=,erlang-inets,erlang-parsetools,erlang-syntax-tools,erlang-tools

# The machine's own Debian archive.
archive=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | awk '!/security/ && !n++')

# kernel SUITE puts a suite's cloud kernel into the root folder. apt works with
# lists of its own: the machine's configuration is not changed.
kernel() {
  local suite=$1 root=$2 a=$cache/apt/$1 key=/usr/share/keyrings/debian-archive-keyring.gpg
  mkdir -p "$a/lists/partial" "$a/cache/archives/partial" "$a/out"
  echo "deb [signed-by=$key] $archive $suite main" >"$a/sources.list"
  local apt=(-o "Dir::Etc::sourcelist=$a/sources.list" -o Dir::Etc::sourceparts=- -o "Dir::State::lists=$a/lists"
    -o Dir::State::status=/dev/null -o "Dir::Cache=$a/cache" -o APT::Sandbox::User=root)
  apt-get "${apt[@]}" update -qq
  local package
  package=$(apt-cache "${apt[@]}" depends linux-image-cloud-amd64 | awk '/Depends: linux-image/ {print $2; exit}')
  (cd "$a/out" && apt-get "${apt[@]}" download -qq "$package")
  # Not straight into the root: an archive's lib/ would replace the link there.
  dpkg-deb -x "$a"/out/*.deb "$a/x"
  mkdir -p "$root/usr/lib/modules"
  local modules=("$a"/x/lib/modules/* "$a"/x/usr/lib/modules/*)
  cp -a "${modules[@]}" "$root/usr/lib/modules/"
  mv "$a"/x/boot/vmlinuz-* "$a"/x/boot/config-* "$root/boot/"
  rm -rf "$a"
}

# base makes the root file system, once.
base() {
  [ -s "$cache/base.img" ] && return
  local root=$cache/root
  rm -rf "$root" "$cache/apt"
  mkdir -p "$cache"
  log "making Debian 12 (once, two minutes)"
  debootstrap --variant=minbase --include="$packages" bookworm "$root" "$archive" >"$cache/debootstrap.log" 2>&1 ||
    die "debootstrap failed: see $cache/debootstrap.log"
  kernel bookworm "$root"
  kernel trixie "$root"
  printf '%s\n' virtio_pci virtio_blk ext4 >"$root/etc/initramfs-tools/modules"
  sed -i 's/^MODULES=.*/MODULES=list/; s/^COMPRESS=.*/COMPRESS=gzip/' "$root/etc/initramfs-tools/initramfs.conf"
  local v
  for v in $(ls "$root/usr/lib/modules"); do
    chroot "$root" depmod "$v"
    chroot "$root" mkinitramfs -o "/boot/initrd.img-$v" "$v"
    cp "$root/boot/vmlinuz-$v" "$root/boot/initrd.img-$v" "$cache/"
  done
  echo sandboxvm >"$root/etc/hostname"
  printf '127.0.0.1 localhost\n127.0.1.1 sandboxvm\n' >"$root/etc/hosts" # Debian's own way
  printf '/dev/vda / ext4 defaults 0 1\n/dev/vdb /payload ext4 ro 0 0\n' >"$root/etc/fstab"
  mkdir "$root/payload"
  rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/usr/share/{doc,man,locale}
  # Nobody logs in, and an emulated machine has no time for chores.
  chroot "$root" systemctl -q mask serial-getty@ttyS0 getty@tty1 apt-daily.timer apt-daily-upgrade.timer \
    man-db.timer e2scrub_all.timer e2scrub_reap fstrim.timer systemd-networkd-wait-online
  install -m 644 "$here/vm.service" "$root/etc/systemd/system/vm.service"
  mke2fs -q -t ext4 -L root -d "$root" "$cache/base.img.new" 4G >/dev/null
  mv "$cache/base.img.new" "$cache/base.img"
  rm -rf "$root"
}

# payload is the disk with what is tried.
payload() {
  local p=$cache/payload
  rm -rf "$p" "$cache/payload.img"
  mkdir -p "$p/usr/local/bin" "$p/usr/local/libexec/beamsandbox" "$p/bin"
  make -s -C "$top" install DESTDIR="$p" PREFIX=/usr/local
  ln -s ../usr/local/bin/sandboxd ../usr/local/bin/sandboxctl "$p/bin/"
  local f
  for f in "$p"/usr/local/libexec/beamsandbox/*; do
    ln -s "../usr/local/libexec/beamsandbox/${f##*/}" "$p/bin/"
  done
  (cd "$top" && CGO_ENABLED=0 go build -o "$p/" ./examples/demo ./integration/vm/inside)
  cp -r "$top/examples" "$p/examples"
  cp "$here/inside.sh" "$here/sandboxd.service" "$p/"
  mke2fs -q -t ext4 -L payload -d "$p" "$cache/payload.img" 600M >/dev/null
  rm -rf "$p"
}

# boot runs the machine to its end and fails unless it says that all passed.
boot() {
  local want=$1 image
  image=$(ls "$cache"/vmlinuz-"$want".* | tail -1)
  local version=${image##*/vmlinuz-} out=$cache/console-$1.log
  log "Linux $version, by $accel"
  timeout --foreground "${VM_TIMEOUT:-3600}" qemu-system-x86_64 -accel "$accel$([ "$accel" = tcg ] && echo ,thread=multi)" \
    -cpu "$cpu" -smp 2 -m "${VM_MEMORY:-3072}" -nographic -net none \
    -kernel "$image" -initrd "$cache/initrd.img-$version" \
    -append "root=/dev/vda rw console=ttyS0 quiet loglevel=3 panic=1 systemd.show_status=0 systemd.wants=vm.service vm.play=$play" \
    -drive "file=$cache/base.img,if=virtio,format=raw,snapshot=on" \
    -drive "file=$cache/payload.img,if=virtio,format=raw,snapshot=on" | tee "$out"
  grep -q 'vm: passed' "$out" || die "failed under Linux $version: see $out"
}

[ "$(id -u)" = 0 ] || die "needs root: it makes a root file system"
tools
base
payload
for k in $kernels; do boot "$k"; done
log "passed"
