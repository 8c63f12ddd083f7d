#!/usr/bin/env bash
# Install the programs that the tests type or drive, or say what to do where that cannot be done.
# Usage: tests/programs.sh FOLDER; promtool goes into FOLDER, Azurite beside it, the rest where Debian puts it.
set -uo pipefail
cd "$1" || exit

programs=(age chromium curl faketime zip unzip sqlite3 7z bsdtar systemd-analyze)
packages=(age chromium curl faketime zip unzip sqlite3 p7zip-full libarchive-tools systemd)
azurite=3.35.0
as_root=()
[ "$(id -u)" = 0 ] || as_root=(sudo)

install_packages() {
    "${as_root[@]}" apt-get update -qq &&
        DEBIAN_FRONTEND=noninteractive "${as_root[@]}" apt-get install -y -qq "$@" >/dev/null
}

# By the Node.js from PyPI: Debian's npm comes with hundreds of packages.
fetch_azurite() {
    PATH=$PWD:$PATH npm install --silent --no-audit --no-fund --no-save --no-package-lock --ignore-scripts \
        --prefix .. "azurite@$azurite" >/dev/null
}

# Only this program of Debian's package: installing that would start a Prometheus.
fetch_promtool() {
    apt-get download -qq prometheus 2>/dev/null ||
        { "${as_root[@]}" apt-get update -qq && apt-get download -qq prometheus; } || return
    dpkg-deb --fsys-tarfile prometheus_*.deb | tar -xO ./usr/bin/promtool >promtool.part &&
        chmod 755 promtool.part && mv promtool.part promtool && rm prometheus_*.deb
}

give_up() {
    cat >&2 <<END

These programs are missing, and could not be installed: $*
The tests drive them. Somebody with the rights to, and a network, can install them:

    sudo apt-get update && sudo apt-get install ${packages[*]} prometheus

(These are Debian's names; other systems have packages much like them. Azurite, which stands in for Azure, comes
by npm.) Then \`make test\` goes on.
Until then, what needs no browser and not all of these programs:

    .venv/bin/pytest -n auto -m "not slow" --ignore tests/browser

and what needs none of them:  make check && .venv/bin/pytest -n auto tests/unit
END
    exit 1
}

missing=()
for program in "${programs[@]}"; do
    command -v "$program" >/dev/null || missing+=("$program")
done
if [ ${#missing[@]} -gt 0 ]; then
    echo "Installing the programs that the tests drive: ${packages[*]}"
    install_packages "${packages[@]}" || give_up "${missing[@]}"
fi
if ! grep -qs "\"version\": \"$azurite\"" ../node_modules/azurite/package.json; then
    echo "Fetching Azurite, which stands in for Azure"
    fetch_azurite || give_up azurite
fi
if [ -x promtool ]; then
    exit
elif command -v promtool >/dev/null; then
    ln -s "$(command -v promtool)" promtool
else
    echo "Fetching promtool, which checks metrics and alerts"
    fetch_promtool || give_up promtool
fi
