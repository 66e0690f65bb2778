#!/bin/sh
# Applies a group of settings to this host, after writing down what was there; undo.sh takes it back. Applying
# twice is applying once. README.md says what each setting is for.
set -u

usage() {
    cat <<'TEXT'
Usage: apply.sh [--root DIR] GROUP [DEVICE...]

Groups:
  sysctl    the values of sysctl.d/90-ringcask.conf, now
  memory    transparent huge pages for those who ask
  cpu       governor 'performance' on all CPUs
  drives    scheduler, queue depth and request size of solid-state drives
            (all NVMe drives, or those named: nvme0n1 sdb)
  network   receive and transmit queues and interrupts over all CPUs
            (all cards that are up, or those named: eth0)
  boot      files in /etc that keep sysctl, memory, drives and limits
  all       all of these

It needs root. What it changes is in /var/lib/ringcask-tuning until undo.sh.
TEXT
}

ROOT=
if [ "${1-}" = --root ]; then
    ROOT=${2:?--root needs a directory}
    shift 2
fi
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
GROUP=${1-}
[ $# -gt 0 ] && shift
# shellcheck source=tuning/lib.sh
. "$HERE/lib.sh"

apply_sysctl() {
    least=no
    while read -r name equals value; do
        case $name in
            '#') [ "$equals" = min ] && least=yes ;;
            '') ;;
            *)
                file=/proc/sys/$(printf '%s' "$name" | tr . /)
                if [ "$least" = yes ]; then set_least "$file" "$value"; else set_value "$file" "$value"; fi
                least=no
                ;;
        esac
    done <"$HERE/sysctl.d/90-ringcask.conf"
}

apply_memory() {
    set_value /sys/kernel/mm/transparent_hugepage/enabled madvise
}

apply_cpu() {
    for file in "$ROOT"/sys/devices/system/cpu/cpu*/cpufreq/scaling_governor; do
        [ -e "$file" ] || { say "  -       no CPU tells its governor, as in virtual machines" && return; }
        set_value "${file#"$ROOT"}" performance
    done
}

apply_drives() {
    if [ $# -eq 0 ]; then
        for drive in "$ROOT"/sys/block/nvme*; do
            [ -e "$drive" ] && set -- "$@" "${drive##*/}"
        done
        [ $# -gt 0 ] || say "  -       there are no NVMe drives; name the drives"
    fi
    for drive in "$@"; do
        queue=/sys/block/$drive/queue
        if [ ! -d "$ROOT$queue" ]; then
            fail "$drive: there is no such drive (name drives, not partitions)"
            continue
        fi
        if [ "$(current "$queue/rotational")" = 1 ]; then
            say "  -       $drive is no solid-state drive"
            continue
        fi
        set_value "$queue/scheduler" none
        set_least "$queue/nr_requests" 256
        most=$(current "$queue/max_hw_sectors_kb") || most=0
        [ "$most" -lt 256 ] || set_least "$queue/max_sectors_kb" 256
    done
}

# All CPUs, one after the other and again.
apply_interrupts() {
    interrupts=$1/device/msi_irqs
    [ -d "$ROOT$interrupts" ] || interrupts=$1/device/../msi_irqs
    for irq in "$ROOT$interrupts"/*; do
        [ -e "$irq" ] && printf '%s\n' "${irq##*/}"
    done | sort -n | {
        # shellcheck disable=SC2086
        set -- $2
        while read -r irq; do
            set_value "/proc/irq/$irq/smp_affinity_list" "$1"
            first=$1
            shift
            set -- "$@" "$first"
        done
        exit "$FAILED"
    } || FAILED=1
}

apply_network() {
    if [ $# -eq 0 ]; then
        for card in "$ROOT"/sys/class/net/*; do
            [ -e "$card/device" ] && [ "$(cat "$card/operstate" 2>/dev/null)" = up ] && set -- "$@" "${card##*/}"
        done
    fi
    all=$(cpus | tr '\n' ' ')
    count=$(cpus | wc -l)
    for name in "$@"; do
        card=/sys/class/net/$name
        if [ ! -d "$ROOT$card/queues" ]; then
            fail "$name: there is no such card"
            continue
        fi
        receiving=$(find "$ROOT$card/queues" -name 'rx-*' | wc -l)
        for queue in "$ROOT$card"/queues/rx-*; do
            queue=${queue#"$ROOT"}
            # Fewer queues than CPUs: what arrives is handed on to all of them.
            # shellcheck disable=SC2086
            [ "$receiving" -ge "$count" ] || set_value "$queue/rps_cpus" "$(mask $all)"
            set_least "$queue/rps_flow_cnt" $((32768 / receiving))
        done
        apply_transmit_queues "$card" "$all"
        if [ "$receiving" -gt 1 ]; then
            apply_interrupts "$card" "$all"
        fi
    done
}

# Each queue gets every n-th CPU.
apply_transmit_queues() {
    sending=$(find "$ROOT$1/queues" -name 'tx-*' | wc -l)
    [ "$sending" -gt 1 ] || return 0
    queue=0
    while [ "$queue" -lt "$sending" ]; do
        ours=$(printf '%s' "$2" | tr ' ' '\n' | awk -v n="$sending" -v q="$queue" 'NF && (NR - 1) % n == q')
        # shellcheck disable=SC2086
        [ -z "$ours" ] || set_value "$1/queues/tx-$queue/xps_cpus" "$(mask $ours)"
        queue=$((queue + 1))
    done
}

apply_boot() {
    install_file "$HERE/sysctl.d/90-ringcask.conf" /etc/sysctl.d/90-ringcask.conf
    install_file "$HERE/udev/60-ringcask.rules" /etc/udev/rules.d/60-ringcask.rules
    install_file "$HERE/tmpfiles.d/ringcask-tuning.conf" /etc/tmpfiles.d/ringcask-tuning.conf
    install_file "$HERE/limits.d/90-ringcask.conf" /etc/security/limits.d/90-ringcask.conf
}

# apply [DEVICE...]: the group.
apply() {
    say "$GROUP:"
    case $GROUP in
        sysctl) apply_sysctl ;;
        memory) apply_memory ;;
        cpu) apply_cpu ;;
        drives) apply_drives "$@" ;;
        network) apply_network "$@" ;;
        boot) apply_boot ;;
    esac
}

case $GROUP in
    sysctl | memory | cpu | drives | network | boot) apply "$@" ;;
    all)
        for GROUP in sysctl memory cpu drives network boot; do
            apply
        done
        ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
esac
exit "$FAILED"
