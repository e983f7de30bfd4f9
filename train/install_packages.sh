# Installs the Debian packages that are missing among those given. Sourced by quickstart.sh and tests/run.sh.
#
#   install_packages NAME...    root or sudo; elsewhere says what to install and returns 1

BUILD_PACKAGES="gcc g++ cmake ninja-build pkg-config libdnnl-dev libhdf5-dev libyaml-dev libjansson-dev libjpeg-dev libpng-dev libgif-dev libwebp-dev libtiff-dev zlib1g-dev libpcre2-dev libutf8proc-dev libsentencepiece-dev libstemmer-dev libopenmpi-dev openmpi-bin"
TEST_PACKAGES="libcmocka-dev clang-format git chromium"

install_packages() {
    local missing=() name
    for name in "$@"; do
        dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing+=("$name")
    done
    [ ${#missing[@]} -eq 0 ] && return 0
    local prefix=()
    if [ "$(id -u)" -ne 0 ]; then
        if ! command -v sudo >/dev/null; then
            echo "Please install these packages first: ${missing[*]}" >&2
            return 1
        fi
        prefix=(sudo)
    fi
    echo "Installing ${missing[*]}"
    local log
    log=$(mktemp)
    if ! { "${prefix[@]}" apt-get update -qq &&
        "${prefix[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}"; } >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "apt-get could not install: ${missing[*]}" >&2
        return 1
    fi
    rm -f "$log"
}
