#!/bin/sh
# Install what the tests need from the distribution, if it is not there: host-tools.sh TOOL...
set -eu

missing=
need() { # command package...
    command -v "$1" >/dev/null 2>&1 || { shift; missing="$missing $*"; }
}

for tool in "$@"; do
    case $tool in
    qemu)         need qemu-system-x86_64 qemu-system-x86 ;;
    gcc)          need gcc gcc libc6-dev
                  echo 'int main(void) { return 0; }' | gcc -static -x c -o /dev/null - 2>/dev/null ||
                      missing="$missing gcc libc6-dev" ;;
    zstd)         echo 'int ZSTD_versionNumber(void); int main(void) { return !ZSTD_versionNumber(); }' |
                      gcc -static -x c -o /dev/null - -lzstd 2>/dev/null || missing="$missing libzstd-dev" ;;
    makedumpfile) need makedumpfile makedumpfile ;;
    squashfs)     need mksquashfs squashfs-tools ;;
    sudo)         need sudo sudo ;;
    tmux)         need tmux tmux ;;
    chromium)     need chromium chromium fonts-dejavu-core ;;
    man)          need groff groff-base; need man man-db; need mandoc mandoc ;;
    shells)       need zsh zsh; need fish fish ;;
    python3-venv) missing="$missing python3-venv" ;;
    *)            echo "host-tools.sh: unknown tool $tool" >&2; exit 2 ;;
    esac
done
[ -n "$missing" ] || exit 0

sudo=
[ "$(id -u)" = 0 ] || sudo=sudo
echo "installing:$missing"
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# shellcheck disable=SC2086  # a list of packages
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
