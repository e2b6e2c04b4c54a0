//! The address table: every block that a delivery must not reach.
//!
//! The rows are the IANA special-purpose and multicast registries of both families, the deprecated
//! blocks that registries have dropped but hosts still honour, and the metadata services of the large
//! clouds. Blocks that the registries call globally reachable are listed too: what answers there is
//! infrastructure, never a webhook receiver. Refusing too much costs one error at registration;
//! refusing too little costs somebody's credentials.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

/// One row of the address table: a block, and why it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SpecialRange {
    /// Kebab-case identifier, stable across releases. Rows of one kind share it (`private-use`).
    pub id: &'static str,
    /// The block.
    pub net: IpNet,
    /// The registry's name for the block.
    pub name: &'static str,
    /// The RFC, or for a cloud's address the cloud, that defines it.
    pub source: &'static str,
    /// Whether an operator's allow-list can open it. Only blocks that private networks number their
    /// hosts from are openable. The forms that embed an IPv4 address are not: they would be a
    /// second spelling for addresses that must stay closed.
    pub openable: bool,
}

/// The only block that IANA assigns global unicast addresses from; all IPv6 outside it is refused.
pub const GLOBAL_UNICAST: IpNet = v6([0x2000], 3);

/// The row that says most about `ip`: of all rows that contain it, the one with the longest prefix.
pub fn find(ip: IpAddr) -> Option<&'static SpecialRange> {
    SPECIAL_RANGES.iter().filter(|range| range.net.contains(&ip)).max_by_key(|range| range.net.prefix_len())
}

const fn v4(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), prefix))
}

/// The block that begins with `head`, all later groups being zero.
const fn v6<const N: usize>(head: [u16; N], prefix: u8) -> IpNet {
    let mut g = [0u16; 8];
    let mut i = 0;
    while i < N {
        g[i] = head[i];
        i += 1;
    }
    let ip = Ipv6Addr::new(g[0], g[1], g[2], g[3], g[4], g[5], g[6], g[7]);
    IpNet::V6(Ipv6Net::new_assert(ip, prefix))
}

/// A row that no allow-list opens.
const fn closed(id: &'static str, net: IpNet, name: &'static str, source: &'static str) -> SpecialRange {
    SpecialRange { id, net, name, source, openable: false }
}

/// A row that an allow-list may open, in whole or in part.
const fn openable(id: &'static str, net: IpNet, name: &'static str, source: &'static str) -> SpecialRange {
    SpecialRange { id, net, name, source, openable: true }
}

/// The table. Order has no meaning; a block inside another one is there for its better name.
#[rustfmt::skip]
pub const SPECIAL_RANGES: &[SpecialRange] = &[
    // IPv4: IANA special-purpose address registry and multicast.
    closed("this-network", v4(0, 0, 0, 0, 8), "This network", "RFC 791 §3.2"),
    closed("this-host", v4(0, 0, 0, 0, 32), "This host on this network", "RFC 1122 §3.2.1.3"),
    openable("private-use", v4(10, 0, 0, 0, 8), "Private use", "RFC 1918"),
    openable("shared-address-space", v4(100, 64, 0, 0, 10), "Shared address space (CGNAT)", "RFC 6598"),
    closed("loopback", v4(127, 0, 0, 0, 8), "Loopback", "RFC 1122 §3.2.1.3"),
    closed("link-local", v4(169, 254, 0, 0, 16), "Link local", "RFC 3927"),
    openable("private-use", v4(172, 16, 0, 0, 12), "Private use", "RFC 1918"),
    closed("protocol-assignments", v4(192, 0, 0, 0, 24), "IETF protocol assignments", "RFC 6890 §2.1"),
    closed("service-continuity", v4(192, 0, 0, 0, 29), "IPv4 service continuity prefix", "RFC 7335"),
    closed("dummy-address", v4(192, 0, 0, 8, 32), "IPv4 dummy address", "RFC 7600"),
    closed("port-control-protocol", v4(192, 0, 0, 9, 32), "Port Control Protocol anycast", "RFC 7723"),
    closed("turn", v4(192, 0, 0, 10, 32), "TURN anycast", "RFC 8155"),
    closed("nat64-discovery", v4(192, 0, 0, 170, 32), "NAT64/DNS64 discovery", "RFC 8880"),
    closed("nat64-discovery", v4(192, 0, 0, 171, 32), "NAT64/DNS64 discovery", "RFC 8880"),
    closed("documentation", v4(192, 0, 2, 0, 24), "Documentation (TEST-NET-1)", "RFC 5737"),
    closed("as112", v4(192, 31, 196, 0, 24), "AS112-v4", "RFC 7535"),
    closed("amt", v4(192, 52, 193, 0, 24), "AMT", "RFC 7450"),
    closed("6to4-relay", v4(192, 88, 99, 0, 24), "Deprecated 6to4 relay anycast", "RFC 7526"),
    closed("6a44-relay", v4(192, 88, 99, 2, 32), "6a44 relay anycast", "RFC 6751"),
    openable("private-use", v4(192, 168, 0, 0, 16), "Private use", "RFC 1918"),
    closed("as112", v4(192, 175, 48, 0, 24), "Direct delegation AS112 service", "RFC 7534"),
    openable("benchmarking", v4(198, 18, 0, 0, 15), "Benchmarking", "RFC 2544"),
    closed("documentation", v4(198, 51, 100, 0, 24), "Documentation (TEST-NET-2)", "RFC 5737"),
    closed("documentation", v4(203, 0, 113, 0, 24), "Documentation (TEST-NET-3)", "RFC 5737"),
    closed("multicast", v4(224, 0, 0, 0, 4), "Multicast", "RFC 5771"),
    closed("reserved", v4(240, 0, 0, 0, 4), "Reserved", "RFC 1112 §4"),
    closed("limited-broadcast", v4(255, 255, 255, 255, 32), "Limited broadcast", "RFC 919 §7"),

    // IPv6: IANA special-purpose address registry and multicast.
    closed("unspecified", v6([], 128), "Unspecified address", "RFC 4291"),
    closed("loopback", v6([0, 0, 0, 0, 0, 0, 0, 1], 128), "Loopback", "RFC 4291"),
    closed("ipv4-mapped", v6([0, 0, 0, 0, 0, 0xffff], 96), "IPv4-mapped", "RFC 4291"),
    closed("nat64", v6([0x64, 0xff9b], 96), "IPv4-IPv6 translation (NAT64)", "RFC 6052"),
    closed("nat64-local-use", v6([0x64, 0xff9b, 1], 48), "Local-use IPv4-IPv6 translation", "RFC 8215"),
    closed("discard-only", v6([0x100], 64), "Discard only", "RFC 6666"),
    closed("dummy-address", v6([0x100, 0, 0, 1], 64), "Dummy IPv6 prefix", "RFC 9780"),
    closed("protocol-assignments", v6([0x2001], 23), "IETF protocol assignments", "RFC 2928"),
    closed("teredo", v6([0x2001], 32), "Teredo", "RFC 4380"),
    closed("port-control-protocol", v6([0x2001, 1, 0, 0, 0, 0, 0, 1], 128), "Port Control Protocol anycast", "RFC 7723"),
    closed("turn", v6([0x2001, 1, 0, 0, 0, 0, 0, 2], 128), "TURN anycast", "RFC 8155"),
    closed("dns-sd-srp", v6([0x2001, 1, 0, 0, 0, 0, 0, 3], 128), "DNS-SD SRP anycast", "RFC 9665"),
    closed("benchmarking", v6([0x2001, 2], 48), "Benchmarking", "RFC 5180"),
    closed("amt", v6([0x2001, 3], 32), "AMT", "RFC 7450"),
    closed("as112", v6([0x2001, 4, 0x112], 48), "AS112-v6", "RFC 7535"),
    closed("orchid", v6([0x2001, 0x10], 28), "Deprecated ORCHID", "RFC 4843"),
    closed("orchid", v6([0x2001, 0x20], 28), "ORCHIDv2", "RFC 7343"),
    closed("drone-remote-id", v6([0x2001, 0x30], 28), "Drone remote ID entity tags", "RFC 9374"),
    closed("documentation", v6([0x2001, 0xdb8], 32), "Documentation", "RFC 3849"),
    closed("6to4", v6([0x2002], 16), "6to4", "RFC 3056"),
    closed("as112", v6([0x2620, 0x4f, 0x8000], 48), "Direct delegation AS112 service", "RFC 7534"),
    closed("documentation", v6([0x3fff], 20), "Documentation", "RFC 9637"),
    closed("segment-routing", v6([0x5f00], 16), "Segment routing (SRv6) SIDs", "RFC 9602"),
    openable("unique-local", v6([0xfc00], 7), "Unique local", "RFC 4193"),
    closed("link-local", v6([0xfe80], 10), "Link-local unicast", "RFC 4291"),
    closed("multicast", v6([0xff00], 8), "Multicast", "RFC 4291 §2.7"),

    // IPv6: deprecated forms that no registry lists any more.
    closed("ipv4-compatible", v6([], 96), "Deprecated IPv4-compatible", "RFC 4291 §2.5.5.1"),
    closed("ipv4-translated", v6([0, 0, 0, 0, 0xffff], 96), "Deprecated IPv4-translated", "RFC 2765 §2.1"),
    closed("site-local", v6([0xfec0], 10), "Deprecated site-local", "RFC 3879"),

    // Where clouds answer to whoever asks from inside. Those within link-local or a private block are
    // rows of their own so that an operator reads what was asked for, and so that an allow-list which
    // opens the block around them does not open them.
    closed("cloud-metadata", v4(169, 254, 169, 254, 32), "Instance metadata", "AWS, Azure, Google Cloud, Oracle, IBM and others"),
    closed("cloud-metadata", v4(169, 254, 170, 2, 32), "ECS task metadata and credentials", "AWS"),
    closed("cloud-metadata", v4(169, 254, 170, 23, 32), "EKS Pod Identity credentials", "AWS"),
    closed("cloud-metadata", v4(169, 254, 0, 23, 32), "Instance metadata", "Tencent Cloud"),
    closed("cloud-metadata", v4(169, 254, 42, 42, 32), "Instance metadata", "Scaleway"),
    closed("cloud-metadata", v4(100, 100, 100, 200, 32), "Instance metadata", "Alibaba Cloud"),
    closed("cloud-metadata", v4(168, 63, 129, 16, 32), "WireServer", "Azure"),
    closed("cloud-metadata", v4(192, 0, 0, 192, 32), "Instance metadata", "Oracle Cloud Classic"),
    closed("cloud-metadata", v6([0xfd00, 0xec2], 32), "Instance metadata, DNS, time and credentials", "AWS"),
    closed("cloud-metadata", v6([0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254], 128), "Instance metadata", "Google Cloud"),
    closed("cloud-metadata", v6([0xfd00, 0xc1, 0, 0, 0, 0, 0xa9fe, 0xa9fe], 128), "Instance metadata", "Oracle Cloud"),
    closed("cloud-metadata", v6([0xfd00, 0x100, 0, 0, 0, 0, 0x100, 0x200], 128), "Instance metadata", "Alibaba Cloud"),
    closed("cloud-metadata", v6([0xfd00, 0x42, 0, 0, 0, 0, 0, 0x42], 128), "Instance metadata", "Scaleway"),
    closed("cloud-metadata", v6([0xfd00, 0xa9fe, 0xa9fe, 0, 0, 0, 0, 1], 128), "Instance metadata", "Akamai"),

    // What the Lambda sandbox itself listens on; its runtime API is on loopback.
    closed("lambda-runtime", v4(169, 254, 100, 1, 32), "Lambda's X-Ray daemon", "AWS"),
    closed("lambda-runtime", v4(169, 254, 79, 0, 24), "Lambda's X-Ray daemon", "AWS"),
    closed("lambda-runtime", v4(169, 254, 78, 1, 32), "Lambda's resolver", "AWS"),
];
