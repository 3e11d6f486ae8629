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

lay() { # lay MEMBER...: of two cables where one is called like eth1=2
  for place in h s c; do ip netns add $id$place && ip -n $id$place link set lo up; done
  ip -n ${id}s link add br0 type bridge forward_delay 0 mcast_snooping 0
  ip -n ${id}s link set br0 up
  ip -n ${id}c link add eth0 address 02:00:00:00:00:cc type veth peer name pc netns ${id}s
  ip -n ${id}s link set pc master br0 up
  ip -n ${id}c link set eth0 up
  ip -n ${id}c address add 10.9.0.2/24 dev eth0
  for member; do
    number=${member#eth} number=${number%=2}
    port=p$number cable=eth$number
    [ $member = $cable ] || cable=${cable}a
    ip -n ${id}h link add $cable address 02:00:00:00:00:0$number type veth peer name $port netns ${id}s
    ip -n ${id}s link set $port master br0 up
    [ $member = eth$number ] || widen $number
    # Announcements, learning frames (0x9000) and pings of the host, as they reach the switch.
    on s tcpdump -l -n -tt -e -p -Q in -B 256 -Z root -i $port 'arp or ether proto 0x9000 or icmp[0] = 8' \
      >/seen/$id.$port 2>/dev/null &
  done
}

# widen NUMBER: this member is twice as fast as others, being two cables that a bond of the kernel's has
# joined. By its hash everything leaves on the first; the second one leads nowhere. It looks at them so
# seldom that it sees both return at once.
widen() {
  ip -n ${id}h link add eth${1}b type veth peer name p${1}b netns ${id}s
  ip -n ${id}s link set p${1}b up
  on h sh -c "
    echo +eth$1 >/sys/class/net/bonding_masters && cd /sys/class/net/eth$1/bonding
    echo balance-xor >mode && echo vlan+srcmac >xmit_hash_policy && echo 400 >miimon"
  ip -n ${id}h link set eth$1 address 02:00:00:00:00:0$1
  for cable in eth${1}a eth${1}b; do ip -n ${id}h link set $cable master eth$1; done
  ip -n ${id}h link set eth$1 up
  : >/seen/$id.wide$1
}

port_is() { # port_is NUMBER up|down: all its cables in the same moment
  echo "link set p$1 $2" >/tmp/$id.batch
  [ ! -e /seen/$id.wide$1 ] || echo "link set p${1}b $2" >>/tmp/$id.batch
  ip -n ${id}s -batch /tmp/$id.batch
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
    down*) port_is ${1#down} down ;;
    up*) port_is ${1#up} up ;;
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

# Who was active, one after the other, since the last look.
succession() {
  before=0
  [ ! -e /seen/$id.active.before ] || read -r before </seen/$id.active.before
  case $driver in
    kernel) cat /seen/$id.active ;;
    ours) on h $ours events --run-dir /run/$id bond0 --past | sed -n 's/.*: active [^ ]* -> \([^ ]*\).*/\1/p' ;;
  esac >/tmp/$id.active
  wc -l </tmp/$id.active >/seen/$id.active.before
  echo "active one after the other:" $(tail -n +$((before + 1)) /tmp/$id.active)
}

# The kernel's driver keeps no record of it: this writes down what it sees ten times a second.
watch_active() {
  on h sh -c '
    before=none
    while :; do
      read -r now </sys/class/net/bond0/bonding/active_slave || now=none
      [ $now = $before ] || echo $now
      before=$now
      sleep 0.1
    done' >/seen/$id.active 2>/dev/null &
}

look() { # look EVENT MEMBER...
  event=$1
  shift
  {
    on h grep . /sys/class/net/bond0/address /sys/class/net/eth0/address /sys/class/net/eth1/address
    for member; do echo "$member announced $(announced p${member#eth})"; done
    on c ping -c 1 -W 1 10.9.0.1 >/dev/null 2>&1 && echo reached || echo "not reached"
    [ ! $watched ] || succession
    text
  } | while IFS= read -r line; do echo "|$course $driver $event|$line"; done >>/seen/$id.told
}

# course NAME DRIVER SECONDS MEMBERS OPTIONS EVENTS: after each event so long nothing is done
course() {
  course=$1 driver=$2 rest=$3 options=$5 events=$6 id=$1-$2 watched=
  lay $4
  # Where the target dies it matters who is tried in what order.
  case $events in *dead*) watched=yes ;; esac
  start eth0 eth1
  [ ! $watched ] || [ $driver = ours ] || watch_active
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
  lacp_bond bond0 eth0 eth1
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

# lacp_bond BOND MEMBER...: a bond of the kernel's with LACP, at the client
lacp_bond() {
  bond=$1
  shift
  on c sh -c "
    echo +$bond >/sys/class/net/bonding_masters && cd /sys/class/net/$bond/bonding
    echo 802.3ad >mode && echo 100 >miimon && echo fast >lacp_rate"
  ip -n ${id}c link set $bond up
  for member; do joins $bond $member; done
}

joins() { # joins BOND MEMBER, at the client
  ip -n ${id}c link set $2 down
  ip -n ${id}c link set $2 master $1
}

# learns MODE DRIVER OPTIONS: when learning frames reach the switch; and of two flows, the only load there
# is, on which port they leave
learns() {
  driver=$2 options="mode=$1 miimon=100 $3" id=learns-$1-$2
  lay eth0 eth1
  start eth0 eth1
  for host in 4 8; do ip -n ${id}c address add 10.9.0.$host/24 dev eth0; done
  sleep 1
  port_is 1 down
  sleep 1
  # Flows are dealt anew when a member is back, and then by the clock.
  echo "|learns-$1 $driver dealt|$(date +%s)" >>/seen/$id.told
  port_is 1 up
  sleep 1
  on h ping -q -i 0.1 -c 130 -s 1000 10.9.0.4 >/dev/null 2>&1 &
  heavy=$!
  on h ping -q -i 0.1 -c 130 10.9.0.8 >/dev/null 2>&1
  wait $heavy
  for port in p0 p1; do
    sed -n 's/^\([0-9.]*\) .*Loopback.*/learning \1/p
            s/^\([0-9.]*\) .*10.9.0.1 > \(10.9.0.[48]\): ICMP.*/\2 \1/p' /seen/$id.$port |
      sed "s/^/|learns-$1 $driver $port|/" >>/seen/$id.told
  done
}

# unsynced DRIVER: a port that was used without a partner gets one that is not in sync, because the
# partner's own aggregator is another one; then its cable is pulled and put back
#
#   h: bond0 of eth0 ── p0  s: br0  q0 ── eth1  c: bond0 of eth0, eth1 ; bond1 of eth9 ── eth0
unsynced() {
  driver=$1 id=unsynced-$1
  for place in h s c; do ip netns add $id$place && ip -n $id$place link set lo up; done
  ip -n ${id}s link add br0 type bridge forward_delay 0 mcast_snooping 0
  ip -n ${id}s link set br0 up
  ip -n ${id}h link add eth0 address 02:00:00:00:00:00 type veth peer name p0 netns ${id}s
  ip -n ${id}c link add eth1 address 02:00:00:00:01:01 type veth peer name q0 netns ${id}s
  ip -n ${id}c link add eth0 address 02:00:00:00:01:00 type veth peer name eth9 address 02:00:00:00:02:00
  for port in p0 q0; do
    ip -n ${id}s link set $port master br0 up
    # LACP passes.
    ip -n ${id}s link set $port type bridge_slave group_fwd_mask 4
  done
  lacp_bond bond1 eth9
  lacp_bond bond0 eth0
  options='mode=802.3ad miimon=100 lacp_rate=fast'
  start eth0
  ip -n ${id}h neighbour add 10.9.0.9 lladdr 02:00:00:00:00:99 dev bond0
  # The first choice of an aggregator may take 8 s.
  sleep 10
  on s tcpdump -l -n -tt -v -p -B 256 -Z root -i p0 'icmp[0] = 8 or ether proto 0x8809' >/seen/$id.p0 2>/dev/null &
  on h ping -q -i 0.1 -c 80 10.9.0.9 >/dev/null 2>&1 &
  sleep 2
  joins bond0 eth1
  sleep 5
  echo "|unsynced $driver frames|pulled $(date +%s)" >>/seen/$id.told
  ip -n ${id}s link set p0 down
  sleep 1
  ip -n ${id}s link set p0 up
  sleep 5
  awk '/^[0-9]/ { time = $1; actor = 1 }
       /^[0-9.]* IP/ { print "ping", time }
       /System 02/ && actor { sender = substr($2, 1, 17) }
       /State Flags/ && actor {
         print sender, /Synchronization/ ? "in-sync" : "waiting", time
         actor = 0
       }' /seen/$id.p0 | sed "s/^/|unsynced $driver frames|/" >>/seen/$id.told
}

# churns DRIVER: no partner for longer than a minute: the seconds before and after the start, and when a
# judgement is seen
churns() {
  driver=$1 id=churns-$1
  lay eth0
  options='mode=802.3ad miimon=100 lacp_rate=fast'
  read -r before rest </proc/uptime
  start eth0
  read -r after rest </proc/uptime
  sleep 55
  # A machine that says nothing for long is taken for dead.
  echo "$id waits"
  tries=0
  while text | grep -q 'Churn State: monitoring' && [ $((tries += 1)) -le 30 ]; do sleep 0.5; done
  read -r judged rest </proc/uptime
  {
    echo "seconds $before $after $judged"
    text | grep Churn
  } | sed "s/^/|churns $driver end|/" >>/seen/$id.told
}
