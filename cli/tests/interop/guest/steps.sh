# The steps a case is made of. The job sources this file, then says `begin NAME`, a list of `step
# COMMAND...` and `end`. A step that fails ends its case: the rest is passed over, and `end` prints
# what led there.
#
# A process costs more here than most of what it would do: what the shell can do itself it does.
#
# Lines that begin with @ are for the host: @begin NAME, @step COMMAND, @end NAME ok|failed|skipped.

log=/tmp/log

begin() { # begin NAME NUMBER: the array of this case is /dev/mdNUMBER
  name=$1 md=/dev/md$2 sys=/sys/block/md$2/md verdict=ok
  echo "@begin $name"
  : >$log
  dmesg -c >/dev/null
}

step() {
  [ $verdict = ok ] || return 0
  echo "@step $*"
  echo "+ $*" >>$log
  "$@" >>$log 2>&1
  case $? in
    0) ;;
    77) verdict=skipped ;;
    *) verdict=failed && echo "failed: $*" >>$log ;;
  esac
}

end() {
  if [ $verdict = failed ]; then
    [ ! -e "$sys" ] || (cd "$sys" && grep -s . array_state sync_action degraded resync_start mismatch_cnt) >>$log
    cat $log /proc/mdstat
    dmesg | tail -n 25
  fi
  [ $verdict = ok ] || mdadm --quiet --stop "$md" 2>/dev/null
  echo "@end $name $verdict"
}

tool() { /job/lib/ld-linux-x86-64.so.2 --library-path /job/lib /job/tool guest "$@"; }

wait_for() { # wait_for COMMAND...: half a minute at most
  now && until=$((seconds + 30))
  until "$@"; do
    now && [ "$seconds" -lt $until ] || return 1
    sleep 0.03
  done
}
now() { read -r seconds _ </proc/uptime && seconds=${seconds%.*}; }

# is ATTRIBUTE VALUE; nothing to ask on a level without redundancy
is() {
  [ -e "$sys/$1" ] || return 0
  read -r value <"$sys/$1" && [ "$value" = "$2" ]
}

need() { [ -e "/sys/module/$1" ] || modprobe "$1" || return 77; } # need MODULE

# quiet DEGRADED: in sync but for so many members, and nothing going on
quiet() { is degraded "$1" && is sync_action idle && is resync_start none; }
# md calls a degraded array recovering until it has looked for spares, so one look is not enough.
settle() { wait_for quiet "$1"; }

# make_by_sysfs LEVEL LAYOUT CHUNK_BYTES METADATA MEMBER...: for layouts that mdadm has no name for.
# The members hold superblocks already (of an array mdadm could make); the kernel takes places and
# sizes from these, everything else from sysfs, and writes it all back when the array starts.
make_by_sysfs() {
  level=$1 layout=$2 chunk=$3 metadata=$4
  shift 4
  echo "${md#/dev/}" >/sys/module/md_mod/parameters/new_array
  echo "$metadata" >"$sys/metadata_version"
  echo $# >"$sys/raid_disks"
  echo "$level" >"$sys/level"
  echo "$chunk" >"$sys/chunk_size"
  echo "$layout" >"$sys/layout"
  slot=0
  for member; do
    read -r numbers <"/sys/class/block/${member#/dev/}/dev"
    echo "$numbers" >"$sys/new_dev" || return 1
    echo $slot >"$sys/dev-${member#/dev/}/slot" || return 1
    slot=$((slot + 1))
  done
  echo active >"$sys/array_state" && is layout "$layout"
}

lose() { # lose MEMBER: it fails, and is taken out
  mdadm "$md" --fail "$1" && wait_for is "dev-${1#/dev/}/slot" none && mdadm "$md" --remove "$1"
}

at_half() { read -r done _ <"$sys/sync_completed" && [ "$done" = "$half" ]; }

# half_rebuild CHUNK_SECTORS SPARE: the rebuild stops, but does not end, half way up the member
half_rebuild() {
  read -r half <"$sys/component_size"
  half=$((half / $1 * $1)) # KiB of the whole: sectors of the half
  echo "$half" >"$sys/sync_max" && mdadm "$md" --add "$2" && wait_for at_half
}

# holds_half_rebuilt MEMBER: what the superblock says once the array has stopped
holds_half_rebuilt() { mdadm --examine "$1" | grep 'Recovery Offset'; }

scrub() {
  echo check >"$sys/sync_action" && wait_for is sync_action idle && is mismatch_cnt 0
}

# no_complaint: the kernel found superblocks and bitmap as it would have left them, and nothing to
# sync; a small array is back in sync before anybody can look, but the kernel's log remembers
no_complaint() {
  ! dmesg | grep -E 'out of date|forcing full|not clean|nvalid|does not have a valid|(resync|recovery) of'
}

halt() { wait_for mdadm --stop "$md"; }

# stay_dirty: from the next write on the array counts as active, for longer than this guest lives
stay_dirty() { echo 1000 >"$sys/safe_mode_delay"; }
