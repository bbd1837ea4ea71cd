# Shared by the scripts beside it: tools that a fresh machine lacks, and the Python environments of the readers.

target=${CARGO_TARGET_DIR:-target}

# Installs Debian packages. As an ordinary user it says what to install instead.
install_missing() {
    [ $# -gt 0 ] || return 0
    if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
        echo "install these packages first (names as in Debian): $*" >&2
        return 1
    fi
    DEBIAN_FRONTEND=noninteractive apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@"
}

# Installs tools that are missing.
need_tools() {
    local missing=()
    command -v fusermount3 >/dev/null || missing+=(fuse3)
    command -v git >/dev/null || missing+=(git)
    command -v ip >/dev/null && command -v tc >/dev/null || missing+=(iproute2)
    command -v nft >/dev/null || missing+=(nftables)
    command -v unshare >/dev/null || missing+=(util-linux)
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    command -v rsync >/dev/null || missing+=(rsync)
    [ -e /usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1 ] || missing+=(faketime)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    install_missing "${missing[@]}" || return 1
    if ! command -v cargo >/dev/null; then
        echo "install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer first: cargo is not in PATH" >&2
        return 1
    fi
}

# The same for what only the reader tests need: a browser, and programs that look into pictures and HDF5 files.
need_readers() {
    local missing=()
    command -v chromium >/dev/null || missing+=(chromium)
    command -v pngcheck >/dev/null || missing+=(pngcheck)
    command -v tiffinfo >/dev/null || missing+=(libtiff-tools)
    command -v h5dump >/dev/null || missing+=(hdf5-tools)
    command -v node >/dev/null || missing+=(nodejs)
    command -v npm >/dev/null || missing+=(npm)
    install_missing "${missing[@]}"
}

# Readers in other languages: a program of the crate zarrs, and a script of h5wasm for node.
make_programs() {
    local home=$target/h5wasm
    cargo build -q --release --locked --manifest-path tests/readers/zarrs/Cargo.toml --target-dir "$target/zarrs" || return 1
    mkdir -p "$home" && cp tests/readers/h5wasm/{package.json,package-lock.json,read.mjs} "$home/" || return 1
    npm ci --silent --no-audit --no-fund --ignore-scripts --prefix "$home"
}

# The Python of an environment.
venv() {
    echo "$target/venv-$1/bin/python"
}

# What installs the readers: it takes a pinned list of two hundred packages in seconds.
uv() {
    local home=$target/venv-uv version=0.13.9
    if ! "$home/bin/uv" --version 2>/dev/null | grep -qF "uv $version"; then
        rm -rf "$home"
        python3 -m venv "$home" && "$home/bin/pip" install -q --disable-pip-version-check "uv==$version" || return 1
    fi
    "$home/bin/uv" "$@"
}

# make_venvs NAME...: makes target/venv-NAME, or uses it again while its requirements are the same.
make_venvs() {
    local name wanted
    for name in "$@"; do
        wanted=tests/readers/requirements-$name.txt
        cmp -s "$wanted" "$target/venv-$name/requirements.txt" && continue
        rm -rf "${target:?}/venv-$name"
        python3 -m venv --without-pip "$target/venv-$name" || return 1
        uv pip sync -q --python "$(venv "$name")" "$wanted" || return 1
        cp "$wanted" "$target/venv-$name/requirements.txt"
    done
}

export -f venv uv make_venvs make_programs install_missing need_readers
export target

# A nightly compiler, for tools that no stable one has; with the components that are named.
need_nightly() {
    rustup toolchain list 2>/dev/null | grep -q ^nightly || rustup toolchain install nightly --profile minimal || return 1
    [ $# = 0 ] || rustup component add --toolchain nightly "$@"
}

# A tool of cargo's, built into the target directory if it is not there.
need_cargo_tool() {
    PATH=$PATH:$(realpath -m "$target/tools/bin")
    command -v "$1" >/dev/null || cargo install --locked --root "$target/tools" "$1"
}
