#!/bin/sh
# Takes back what apply.sh changed: each value and file is again what it was before the first apply.
set -u

usage() {
    printf 'Usage: undo.sh [--root DIR] sysctl|memory|cpu|drives|network|boot|all\n'
}

ROOT=
if [ "${1-}" = --root ]; then
    ROOT=${2:?--root needs a directory}
    shift 2
fi
HERE=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd) || exit 1
GROUP=${1-}
# shellcheck source=tuning/lib.sh
. "$HERE/lib.sh"

undo() {
    list=$STATE/$GROUP
    if [ ! -f "$list" ]; then
        say "  -       nothing of this group was changed"
        return
    fi
    # What could not be restored stays in the list, for another try.
    rest=$list.rest
    : >"$rest" || exit 1
    # The last change first.
    awk '{ line[NR] = $0 } END { for (n = NR; n > 0; n--) print line[n] }' "$list" >"$list.reversed" || exit 1
    while IFS='	' read -r path before; do
        case $before in
            none:) shown='(was not there)' ;;
            file:*) shown='(as it was)' ;;
            *) shown="= $before" ;;
        esac
        if restore "$path" "$before"; then
            say "  undone  $path $shown"
        else
            fail "$path: cannot be set to what it was: $before"
            printf '%s\t%s\n' "$path" "$before" >>"$rest"
        fi
    done <"$list.reversed"
    rm -f "$list.reversed"
    if [ -s "$rest" ]; then mv "$rest" "$list"; else rm -f "$rest" "$list"; fi
}

case $GROUP in
    sysctl | memory | cpu | drives | network | boot)
        say "$GROUP:"
        undo
        ;;
    all)
        for GROUP in boot network drives cpu memory sysctl; do
            say "$GROUP:"
            undo
        done
        ;;
    -h | --help) usage ;;
    *)
        usage >&2
        exit 2
        ;;
esac
rmdir "$STATE" 2>/dev/null || true
exit "$FAILED"
