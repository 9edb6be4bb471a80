#!/bin/sh
# ready, on all members: rules loaded, packets passed on, links up; asks the others for the connections they know.
# active, beside the addresses: tells the others of all connections that this kernel knows.
: "${OCF_FUNCTIONS_DIR=${OCF_ROOT:-/usr/lib/ocf}/lib/heartbeat}"
. "$OCF_FUNCTIONS_DIR/ocf-shellfuncs"
mark="$HA_RSCTMP/zentyal_nat-$OCF_RESOURCE_INSTANCE"

metadata() {
    cat <<'XML'
<?xml version="1.0"?>
<!DOCTYPE resource-agent SYSTEM "ra-api-1.dtd">
<resource-agent name="zentyal_nat" version="1.0">
<version>1.0</version>
<longdesc lang="en">Whether a host can serve as a firewall, and which one does.</longdesc>
<shortdesc lang="en">A firewall's readiness</shortdesc>
<parameters>
<parameter name="part">
<longdesc lang="en">ready: rules loaded, forwarding on, a link on each interface. active: has the addresses.</longdesc>
<shortdesc lang="en">Part</shortdesc>
<content type="string" default="ready"/>
</parameter>
<parameter name="interfaces">
<longdesc lang="en">Interfaces, separated by blanks, that need a link.</longdesc>
<shortdesc lang="en">Interfaces</shortdesc>
<content type="string"/>
</parameter>
<parameter name="table">
<longdesc lang="en">Table of nftables, of the family inet, that must be loaded; empty where another engine makes the rules.</longdesc>
<shortdesc lang="en">Table</shortdesc>
<content type="string"/>
</parameter>
</parameters>
<actions>
<action name="start" timeout="20s"/>
<action name="stop" timeout="20s"/>
<action name="monitor" timeout="20s" interval="2s"/>
<action name="meta-data" timeout="5s"/>
<action name="validate-all" timeout="5s"/>
</actions>
</resource-agent>
XML
}

# Says what is missing.
ready() {
    [ "${OCF_RESKEY_part:-ready}" = ready ] || return 0
    if [ "$(cat /proc/sys/net/ipv4/ip_forward)" != 1 ]; then
        ocf_exit_reason "net.ipv4.ip_forward is off: \`sysctl net.ipv4.ip_forward=1\`, and find out who switched it off"
        return 1
    fi
    for interface in $OCF_RESKEY_interfaces; do
        if [ "$(cat "/sys/class/net/$interface/carrier" 2>/dev/null)" != 1 ]; then
            ocf_exit_reason "$interface has no link: \`ip -br link\`"
            return 1
        fi
    done
    if [ -n "$OCF_RESKEY_table" ] && ! nft list table inet "$OCF_RESKEY_table" >/dev/null 2>&1; then
        ocf_exit_reason "the rules are not loaded: \`systemctl restart zentyal_nat\`"
        return 1
    fi
}

# What conntrackd brought into this kernel is not in its own table, which is what it sends to a member that comes back:
# whoever takes over reads the kernel's table (-R) and sends it (-B). Whoever comes back asks (-n), in case it missed that.
# A firewall without conntrackd is still a firewall.
share() {
    for _ in 1 2 3 4 5 6 7 8 9 10; do
        conntrackd -s >/dev/null 2>&1 && break
        sleep 0.5
    done
    if [ "${OCF_RESKEY_part:-ready}" = active ]; then
        conntrackd -R && conntrackd -B
    else
        conntrackd -n
    fi || ocf_log warn "conntrackd does not answer: a failover would end connections"
}

case "$1" in
    meta-data) metadata; exit "$OCF_SUCCESS" ;;
    validate-all) exit "$OCF_SUCCESS" ;;
    start)
        # Again: at boot, conntrack's settings come before its module, and are lost.
        /lib/systemd/systemd-sysctl 60-zentyal_nat.conf
        [ -z "$OCF_RESKEY_table" ] || nft list table inet "$OCF_RESKEY_table" >/dev/null 2>&1 || systemctl restart zentyal_nat.service
        ready || exit "$OCF_ERR_GENERIC"
        share
        mkdir -p "$HA_RSCTMP"
        : > "$mark"
        ;;
    # Without its addresses it goes on denying.
    stop) rm -f "$mark" ;;
    monitor)
        [ -e "$mark" ] || exit "$OCF_NOT_RUNNING"
        ready || exit "$OCF_ERR_GENERIC"
        ;;
    *) exit "$OCF_ERR_UNIMPLEMENTED" ;;
esac
exit "$OCF_SUCCESS"
