# Copyright (c) the cloudexit maintainers
# GNU General Public License v3.0-or-later (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# The archive has one version of each package. This makes a folder with the same ones under a higher version, as a source for
# apt: newer_packages.sh FOLDER PACKAGE …
set -euo pipefail
folder=$1
shift
rm -rf "$folder"
mkdir -p "$folder"
cd "$folder"
apt-get download -qq "$@" 2>/dev/null
for deb in *.deb; do
    name=$(dpkg-deb --field "$deb" Package)
    old=$(dpkg-deb --field "$deb" Version)
    dpkg-deb --raw-extract "$deb" tree
    sed -i "s/^Version: .*/Version: $old+newer1/; s/(= $old)/(= $old+newer1)/g" tree/DEBIAN/control
    rm "$deb"
    dpkg-deb --build -Znone tree "$name.deb" >/dev/null
    rm -rf tree
    dpkg-deb --field "$name.deb" >>Packages
    printf 'Filename: ./%s.deb\nSize: %s\nSHA256: %s\n\n' "$name" "$(stat --format=%s "$name.deb")" \
        "$(sha256sum "$name.deb" | cut -d ' ' -f 1)" >>Packages
done
