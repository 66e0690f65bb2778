# What apply.sh and undo.sh share: values are changed only after what was there has been written down.
# Sourced, with ROOT (empty, or a directory that looks like the root of a host) and GROUP set.
# shellcheck shell=sh

STATE="$ROOT/var/lib/ringcask-tuning"
FAILED=0

say() {
    printf '%s\n' "$*"
}

fail() {
    printf '%s: %s\n' "$(basename "$0")" "$*" >&2
    # shellcheck disable=SC2034 # the exit code of those who source this
    FAILED=1
}

# The choice in force: sysfs shows all of them, with brackets around one.
current() {
    text=$(cat "$ROOT$1" 2>/dev/null) || return 1
    case $text in
        *\[*\]*) text=${text#*\[} && text=${text%%\]*} ;;
    esac
    printf '%s' "$text" | tr '\t' ' '
}

# Whether two values are the same to the kernel, which fills masks up with zeros.
same() {
    case $1$2 in
        *[!0-9a-f,]*) [ "$1" = "$2" ] ;;
        *) [ "$(printf '%s' "$1" | sed 's/^[0,]*//')" = "$(printf '%s' "$2" | sed 's/^[0,]*//')" ] ;;
    esac
}

# Writes down what a file holds before its first change.
save() {
    SAVED=before
    mkdir -p "$STATE" || exit 1
    if [ -f "$STATE/$GROUP" ] && cut -f 1 "$STATE/$GROUP" | grep -Fqx -e "$1"; then
        return 0
    fi
    printf '%s\t%s\n' "$1" "$2" >>"$STATE/$GROUP" || exit 1
    SAVED=now
}

# Takes the last line of the list away again, if it was written now.
forget() {
    [ "$SAVED" = now ] || return 0
    sed -i '$d' "$STATE/$GROUP"
    [ -s "$STATE/$GROUP" ] || rm -f "$STATE/$GROUP"
}

# set_value FILE VALUE: has the kernel's file hold the value, unless it does.
set_value() {
    if ! before=$(current "$1"); then
        say "  -       $1: not on this host"
        return 0
    fi
    if same "$before" "$2"; then
        say "  ok      $1 = $2"
        return 0
    fi
    save "$1" "$before"
    if (printf '%s\n' "$2" >"$ROOT$1") 2>/dev/null; then
        say "  set     $1 = $2 (was $before)"
    else
        forget
        fail "$1: the kernel does not take $2"
    fi
}

# set_least FILE NUMBER: the same, but a larger number stays.
set_least() {
    before=$(current "$1") || before=
    case $before in
        '' | *[!0-9]*) set_value "$1" "$2" ;;
        *)
            if [ "$before" -ge "$2" ]; then
                say "  ok      $1 = $before"
            else
                set_value "$1" "$2"
            fi
            ;;
    esac
}

# install_file FROM TO: a copy; what was at TO is kept beside the list.
install_file() {
    if cmp -s "$1" "$ROOT$2"; then
        say "  ok      $2"
        return 0
    fi
    mkdir -p "$STATE" || exit 1
    if [ -e "$ROOT$2" ]; then
        kept="$STATE/$GROUP.$(printf '%s' "$2" | tr '/' '_')"
        [ -e "$kept" ] || cp -p "$ROOT$2" "$kept" || exit 1
        save "$2" "file:$kept"
    else
        save "$2" "none:"
    fi
    if mkdir -p "$(dirname "$ROOT$2")" && cp "$1" "$ROOT$2" && chmod 644 "$ROOT$2"; then
        say "  made    $2"
    else
        fail "$2: cannot be written"
    fi
}

# Takes a line of the list back.
restore() {
    case $2 in
        none:) rm -f "$ROOT$1" ;;
        file:*) cp -p "${2#file:}" "$ROOT$1" && rm -f "${2#file:}" ;;
        *) (printf '%s\n' "$2" >"$ROOT$1") 2>/dev/null ;;
    esac
}

# cpus: numbers of all CPUs that are online, one a line.
cpus() {
    tr ',' '\n' <"$ROOT/sys/devices/system/cpu/online" | while IFS=- read -r first last; do
        cpu=$first
        while [ "$cpu" -le "${last:-$first}" ]; do
            printf '%s\n' "$cpu"
            cpu=$((cpu + 1))
        done
    done
}

# mask CPU...: as the kernel writes masks, 32 CPUs a word.
mask() {
    printf '%s\n' "$@" | awk '
        { words[int($1 / 32)] += 2 ^ ($1 % 32); if (int($1 / 32) > most) most = int($1 / 32) }
        END {
            out = sprintf("%x", words[most + 0])
            for (word = most - 1; word >= 0; word--) out = out sprintf(",%08x", words[word])
            print out
        }'
}
