#!/bin/sh
# In the unstable container: builds /images/$1, a tar of the modules of nftables and WireGuard that Debian's UML kernel
# lacks, for that kernel, from Debian's source of the same series; $2… are the packages that takes.
set -eu
file=$1
shift
# Unstable's Release file may be older than it promises on a frozen mirror; signatures stay checked.
apt-get -o Acquire::Check-Valid-Until=false update -q
release=$(ls /usr/lib/uml/modules)
apt-get install -y -q --no-install-recommends "linux-source-${release%.*}" "$@"
cd /usr/src
# Enough for modules: no drivers' documents, none of the largest headers.
tar xf "linux-source-${release%.*}.tar.xz" --exclude='*/drivers/gpu/drm/amd/*.h' --exclude='*/Documentation/*.rst'
cd "linux-source-${release%.*}"
zcat /usr/share/doc/user-mode-linux/config.gz > .config
for option in NF_TABLES_INET NF_TABLES_IPV4 NF_TABLES_IPV6; do scripts/config --enable $option; done
for option in NFT_NAT NFT_REJECT WIREGUARD; do scripts/config --module $option; done
make -s ARCH=um olddefconfig
for option in NF_TABLES_INET=y NFT_NAT=m NFT_REJECT_INET=m WIREGUARD=m; do grep -qx "CONFIG_$option" .config; done
# The kernel takes modules of its own release only; within a series it is one interface.
sed -i "s/^SUBLEVEL = .*/SUBLEVEL = ${release##*.}/" Makefile
make -s ARCH=um -j"$(nproc)" modules_prepare
[ "$(cat include/config/kernel.release)" = "$release" ]
set --
for module in nf_nat nf_tables nft_nat nft_chain_nat nft_reject nft_reject_inet nft_ct nft_log nft_limit nft_masq nft_redir; do
    set -- "$@" "net/netfilter/$module.ko"
done
set -- "$@" net/ipv4/netfilter/nft_reject_ipv4.ko net/ipv6/netfilter/nft_reject_ipv6.ko
set -- "$@" lib/crypto/libcurve25519.ko lib/crypto/libchacha20poly1305.ko drivers/net/wireguard/wireguard.ko
# Without the kernel's objects no symbol is resolved here, which is a warning for each; depmod finds who needs whom.
make -s ARCH=um KBUILD_MODPOST_WARN=1 -j"$(nproc)" "$@"
tar cf "/images/$file.new" "$@"
mv "/images/$file.new" "/images/$file"
rm -rf "/usr/src/linux-source-${release%.*}"
