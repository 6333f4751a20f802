# steps.bash - the steps that tests/run, bench/run and deploy/quickstart share: say, configure, build. To be sourced
# from the repository's root, by a script with 'set -euo pipefail'.
#
# Every line that a step prints of its own begins with the seconds since the first script began.
#
# SPDX-License-Identifier: Apache-2.0
printf -v STOA_BEGAN '%s' "${STOA_BEGAN:-$(date +%s)}"
export STOA_BEGAN

say() {
    local now
    printf -v now '%(%s)T' -1
    printf '[%4d s] %s\n' $((now - STOA_BEGAN)) "$*"
}

# Where the home folder cannot be written to, the compiler's cache lives beside the build.
use_cache() {
    local cache=${CCACHE_DIR:-${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/ccache}
    mkdir -p "$cache" 2>/dev/null && [ -w "$cache" ] || export CCACHE_DIR="$PWD/build/ccache"
}

# configure PRESET [CMAKE-ARGUMENT...]: fills build/PRESET; silent unless it fails.
configure() {
    local preset=$1 log=build/$1.configure.log
    shift
    mkdir -p build
    use_cache
    cmake --preset "$preset" "$@" >"$log" 2>&1 && return
    cat "$log" >&2
    say "configuring $preset failed"
    return 1
}

# build PRESET [TARGET...]: builds the targets, or all; shows how far it is every ten seconds, and the compiler's words.
build() {
    local preset=$1
    shift
    say "building $preset"
    if NINJA_STATUS='[%f/%t] ' ninja -C "build/$preset" "$@" 2>&1 </dev/null | show_progress "$preset"; then
        return
    fi
    say "building $preset failed"
    return 1
}

# show_progress PRESET: ninja's output, its status lines at most every ten seconds.
show_progress() {
    local line now last
    printf -v last '%(%s)T' -1
    while IFS= read -r line; do
        case $line in
        ninja:\ Entering* | ninja:\ no\ work* | '-- '* | '[0/'*) continue ;;
        '['[0-9]*'] '*)
            printf -v now '%(%s)T' -1
            [ $((now - last)) -lt 10 ] && continue
            last=$now
            say "building $1: ${line%%]*}]"
            ;;
        *) printf '%s\n' "$line" ;;
        esac
    done
}

# usage: the head comment of the script that asks, without its comment marks.
usage() { sed -n '2,/^# SPDX/{/^# SPDX/d;s/^# \{0,1\}//;p}' "$0"; }
