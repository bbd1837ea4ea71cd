# Shared by the scripts beside it: tools that a fresh machine lacks, and the Python environments of the readers.

target=${CARGO_TARGET_DIR:-target}

# Installs Debian packages that are missing. As an ordinary user it says what to install instead.
need_tools() {
    local missing=() packages
    command -v fusermount3 >/dev/null || missing+=(fuse3)
    command -v git >/dev/null || missing+=(git)
    command -v unshare >/dev/null || missing+=(util-linux)
    command -v cc >/dev/null || missing+=(gcc libc6-dev)
    python3 -c 'import venv, ensurepip' 2>/dev/null || missing+=(python3-venv)
    if [ ${#missing[@]} -gt 0 ]; then
        packages=${missing[*]}
        if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
            echo "install these packages first (names as in Debian): $packages" >&2
            return 1
        fi
        DEBIAN_FRONTEND=noninteractive apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq "${missing[@]}" || return 1
    fi
    if ! command -v cargo >/dev/null; then
        echo "install Rust $(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml) or newer first: cargo is not in PATH" >&2
        return 1
    fi
}

# The Python of an environment.
venv() {
    echo "$target/venv-$1/bin/python"
}

# Makes target/venv-zarr2 and target/venv-zarr3, or uses them again while their requirements are the same.
make_venvs() {
    local name wanted
    for name in zarr2 zarr3; do
        wanted=tests/readers/requirements-$name.txt
        cmp -s "$wanted" "$target/venv-$name/requirements.txt" && continue
        rm -rf "${target:?}/venv-$name"
        python3 -m venv "$target/venv-$name" || return 1
        "$(venv $name)" -m pip install -q --disable-pip-version-check -r "$wanted" || return 1
        cp "$wanted" "$target/venv-$name/requirements.txt"
    done
}

export -f venv make_venvs
export target
