# One script of events for both drivers: the kernel's own, and ours, each in namespaces of its own in
# the same guest. The job sources this file, starts each `course`, waits, and lets `tell` say what was
# seen.
#
#   h: the bond's host          s: a switch            c: a client
#   bond0 ─┬─ eth0 ──── p0 ─┐
#          └─ eth1 ──── p1 ─┴─ br0 ── pc ── eth0       10.9.0.1 and 10.9.0.2
#
# Lines that begin with | are for the host: |COURSE DRIVER EVENT|what was seen.

ours="/job/lib/ld-linux-x86-64.so.2 --library-path /job/lib /job/tool bond"
modprobe -a bonding veth bridge tun af_packet sch_ingress cls_bpf 2>/tmp/modules.log
[ ! -e /sys/class/net/bond0 ] || echo -bond0 >/sys/class/net/bonding_masters
mkdir -p /var/run/netns /dev/net /seen
[ -e /dev/net/tun ] || mknod /dev/net/tun c 10 200

on() { # on h|s|c COMMAND...
  place=$id$1
  shift
  ip netns exec $place "$@"
}

lay() { # lay MEMBER...
  for place in h s c; do ip netns add $id$place && ip -n $id$place link set lo up; done
  ip -n ${id}s link add br0 type bridge forward_delay 0 mcast_snooping 0
  ip -n ${id}s link set br0 up
  ip -n ${id}c link add eth0 address 02:00:00:00:00:cc type veth peer name pc netns ${id}s
  ip -n ${id}s link set pc master br0 up
  ip -n ${id}c link set eth0 up
  ip -n ${id}c address add 10.9.0.2/24 dev eth0
  for member; do
    port=p${member#eth}
    ip -n ${id}h link add $member address 02:00:00:00:00:0${member#eth} type veth peer name $port netns ${id}s
    ip -n ${id}s link set $port master br0 up
    # Announcements, and learning frames (0x9000), as they reach the switch.
    on s tcpdump -l -n -e -p -Q in -Z root -i $port 'arp or ether proto 0x9000' >/seen/$id.$port 2>/dev/null &
  done
}

option() { # option NAME=VALUE
  case $driver in
    kernel) on h sh -c "echo '${1#*=}' >/sys/class/net/bond0/bonding/${1%%=*}" ;;
    ours) on h $ours set --run-dir /run/$id bond0 "$1" >/dev/null ;;
  esac
}

start() { # start MEMBER...: a bond with $options
  case $driver in
    kernel)
      on h sh -c 'echo +bond0 >/sys/class/net/bonding_masters'
      for one in $options; do option $one; done
      ip -n ${id}h link set bond0 up
      for member; do ip -n ${id}h link set $member down && ip -n ${id}h link set $member master bond0; done
      ;;
    ours)
      flags=
      for one in $options; do flags="$flags --option $one"; done
      on h $ours run --run-dir /run/$id --name bond0 $flags "$@" >/seen/$id.log 2>&1 &
      ;;
  esac
  # Probes want an address soon.
  tries=0
  until ip -n ${id}h address add 10.9.0.1/24 dev bond0 2>/dev/null || [ $((tries += 1)) -gt 300 ]; do
    sleep 0.1
  done
  until on h grep -q 1 /sys/class/net/bond0/carrier || [ $((tries += 1)) -gt 300 ]; do sleep 0.1; done
}

happen() { # happen EVENT
  case $1 in
    down*) ip -n ${id}s link set p${1#down} down ;;
    up*) ip -n ${id}s link set p${1#up} up ;;
    mute*) ip -n ${id}s link set p${1#mute} nomaster ;;
    heard*) ip -n ${id}s link set p${1#heard} master br0 ;;
    dead) ip -n ${id}c link set eth0 down ;;
    alive) ip -n ${id}c link set eth0 up ;;
    *=*) option $1 ;;
  esac
}

text() {
  case $driver in
    kernel) on h cat /proc/net/bonding/bond0 ;;
    ours) on h $ours status --run-dir /run/$id bond0 --format proc ;;
  esac
}
# Announcements since the last look: who has the bond's address, asked by the bond's address.
announced() {
  before=0
  [ ! -e /seen/$id.$1.before ] || read -r before </seen/$id.$1.before
  grep -c 'who-has 10.9.0.1 .*tell 10.9.0.1,' /seen/$id.$1 >/seen/$id.$1.before
  read -r count </seen/$id.$1.before
  echo $((count - before))
}

look() { # look EVENT MEMBER...
  event=$1
  shift
  {
    on h grep . /sys/class/net/bond0/address /sys/class/net/eth0/address /sys/class/net/eth1/address
    for member; do echo "$member announced $(announced p${member#eth})"; done
    on c ping -c 1 -W 1 10.9.0.1 >/dev/null 2>&1 && echo reached || echo "not reached"
    text
  } | while IFS= read -r line; do echo "|$course $driver $event|$line"; done >>/seen/$id.told
}

# course NAME DRIVER SECONDS OPTIONS -- EVENTS: with two members; after each event so long nothing is done
course() {
  course=$1 driver=$2 rest=$3 options=$4 events=$5 id=$1-$2
  lay eth0 eth1
  start eth0 eth1
  sleep $rest
  announced p0 >/dev/null
  announced p1 >/dev/null
  look start eth0 eth1
  number=0
  for event in $events; do
    number=$((number + 1))
    happen $event
    sleep $rest
    look $number.$event eth0 eth1
  done
  [ $driver = kernel ] || on h $ours stop --run-dir /run/$id bond0 >/dev/null
}

tell() { cat /seen/*.told /seen/*.log; }

# pair: our bond at one end of two cables, the kernel's at the other, both with LACP; what either says
# after each event
pair() {
  id=pair
  for place in h c; do ip netns add $id$place && ip -n $id$place link set lo up; done
  for cable in 0 1; do
    ip -n ${id}h link add eth$cable address 02:00:00:00:00:0$cable type veth \
      peer name eth$cable address 02:00:00:00:01:0$cable netns ${id}c
    ip -n ${id}c link set eth$cable up
  done
  options='mode=802.3ad miimon=100 lacp_rate=fast'
  driver=ours
  start eth0 eth1
  driver=kernel
  # `start` speaks of the bond's host, which is the other end here.
  on c sh -c 'echo +bond0 >/sys/class/net/bonding_masters'
  for one in $options; do on c sh -c "echo '${one#*=}' >/sys/class/net/bond0/bonding/${one%%=*}"; done
  ip -n ${id}c link set bond0 up
  for member in eth0 eth1; do
    ip -n ${id}c link set $member down && ip -n ${id}c link set $member master bond0
  done
  ip -n ${id}c address add 10.9.0.2/24 dev bond0
  for event in both kernel-lost kernel-again ours-lost ours-again; do
    case $event in
      kernel-lost) ip -n ${id}c link set eth0 down ;;
      kernel-again) ip -n ${id}c link set eth0 up ;;
      ours-lost) ip -n ${id}h link set eth1 down ;;
      ours-again) ip -n ${id}h link set eth1 up ;;
    esac
    # The first choice of an aggregator may take 8 s.
    sleep $([ $event = both ] && echo 12 || echo 6)
    {
      on c ping -c 1 -W 1 10.9.0.1 >/dev/null 2>&1 && echo "|pair both $event|reached"
      on c cat /proc/net/bonding/bond0 | sed "s/^/|pair kernel $event|/"
      on h $ours status --run-dir /run/$id bond0 --format proc | sed "s/^/|pair ours $event|/"
    } >>/seen/$id.told
  done
}
