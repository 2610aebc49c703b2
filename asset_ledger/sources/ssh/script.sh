# Read-only probe of one machine. Sent unchanged on the stdin of "sh -s NONCE", or pinned on the host with
# command="sh /path/script.sh" in authorized_keys, where the nonce is the last word of the refused command.
# No root, no sudo, no file is written. dash, bash, ksh93 and busybox sh run it. A missing "end" = truncated.
LC_ALL=C; LANG=C; export LC_ALL LANG
PATH=$PATH:/usr/sbin:/sbin:/usr/bin:/bin; export PATH
N=${1:-${SSH_ORIGINAL_COMMAND##* }}
case "$N" in ''|*[!0-9a-f]*) exit 64;; esac
exec 2>/dev/null
C=0
b() { C=$((C + 1)); printf '\n@@%s:%s@@\n' "$N" "$1"; }
e() { printf '\n@@%s:rc=%s@@\n' "$N" "$1"; }

b uname; uname -s && uname -r && uname -m; e $?
b hostname; hostname || uname -n || cat /proc/sys/kernel/hostname; e $?
b cpu; getconf _NPROCESSORS_ONLN || getconf NPROCESSORS_ONLN || nproc || grep -c '^processor' /proc/cpuinfo; e $?
b mem; grep '^MemTotal:' /proc/meminfo; e $?
b lsblk; lsblk -b -dn -o NAME,TYPE,SIZE,RM,RO; e $?

# name|512-byte sectors|removable|d = has a device|s = stands on other disks|wwid
b sysblock
for d in /sys/block/*; do
  [ -r "$d/size" ] || continue
  s=-; r=-; v=-; q=-; w=
  read -r s < "$d/size"
  [ -r "$d/removable" ] && read -r r < "$d/removable"
  [ -e "$d/device" ] && v=d
  for x in "$d"/slaves/*; do [ -e "$x" ] && q=s; done
  [ -r "$d/wwid" ] && read -r w < "$d/wwid"
  [ -z "$w" ] && [ -r "$d/device/wwid" ] && read -r w < "$d/device/wwid"
  printf '%s|%s|%s|%s|%s|%s\n' "${d##*/}" "$s" "$r" "$v" "$q" "${w:--}"
done
[ -d /sys/block ]; e $?

b ip; ip addr; r=$?; e $r
if [ $r -ne 0 ]; then b ifconfig; ifconfig -a; e $?; fi
b route
grep '^[^[:space:]]*[[:space:]]*00000000[[:space:]]' /proc/net/route
grep '^00000000000000000000000000000000 00 ' /proc/net/ipv6_route
e 0

b os; r=1
for f in /etc/os-release /usr/lib/os-release /etc/redhat-release /etc/SuSE-release /etc/alpine-release /etc/issue; do
  if [ -r "$f" ]; then printf 'file=%s\n' "$f"; cat "$f"; r=$?; break; fi
done
e $r

b machineid; cat /etc/machine-id || cat /var/lib/dbus/machine-id; e $?
b dmi
for k in sys_vendor product_name product_uuid product_serial; do
  [ -r "/sys/class/dmi/id/$k" ] && printf '%s=%s\n' "$k" "$(cat "/sys/class/dmi/id/$k")"
done
[ -d /sys/class/dmi/id ]; e $?

b virt
printf 'detect=%s\n' "$(systemd-detect-virt)"
[ -r /run/systemd/container ] && printf 'container=%s\n' "$(cat /run/systemd/container)"
[ -e /.dockerenv ] && printf 'container=docker\n'
[ -e /run/.containerenv ] && printf 'container=podman\n'
[ -d /proc/vz ] && [ ! -d /proc/bc ] && printf 'container=openvz\n'
if grep -q '/lxc[/.]' /proc/1/cgroup || grep -q '^lxcfs /proc/' /proc/mounts; then printf 'container=lxc\n'; fi
if grep -q -e '/docker[/-]' -e '/kubepods' -e '/libpod' /proc/1/cgroup; then printf 'container=oci\n'; fi
if grep -q '^flags.* hypervisor' /proc/cpuinfo; then printf 'cpu=hypervisor\n'; elif grep -q '^flags' /proc/cpuinfo; then printf 'cpu=bare\n'; fi
e 0

b end; printf '%s\n' "$C"; e 0
