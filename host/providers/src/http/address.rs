//! Classifies addresses as public or not. An address that is not public belongs to a private
//! network, or is reserved.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Returns why an address is not public; `None` for a public one.
pub(super) fn why_not_public(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => v4(address),
        IpAddr::V6(address) => v6(address),
    }
}

/// Networks that are not public: address, number of bits, name.
const V4: [([u8; 4], u32, &str); 17] = [
    ([0, 0, 0, 0], 8, "an unspecified address"),
    ([10, 0, 0, 0], 8, "a private address"),
    (
        [100, 64, 0, 0],
        10,
        "an address of a provider's own network",
    ),
    ([127, 0, 0, 0], 8, "a loopback address"),
    // Serves a virtual machine's settings, like the link-local addresses of other clouds.
    ([168, 63, 129, 16], 32, "a cloud's own address"),
    ([169, 254, 0, 0], 16, "a link-local address"),
    ([172, 16, 0, 0], 12, "a private address"),
    ([192, 0, 0, 0], 24, "a reserved address"),
    ([192, 0, 2, 0], 24, "an address for documentation"),
    ([192, 88, 99, 0], 24, "an address of IPv6 relays"),
    ([192, 168, 0, 0], 16, "a private address"),
    ([198, 18, 0, 0], 15, "an address for benchmarks"),
    ([198, 51, 100, 0], 24, "an address for documentation"),
    ([203, 0, 113, 0], 24, "an address for documentation"),
    ([224, 0, 0, 0], 4, "a multicast address"),
    ([255, 255, 255, 255], 32, "the broadcast address"),
    ([240, 0, 0, 0], 4, "a reserved address"),
];

fn v4(address: Ipv4Addr) -> Option<&'static str> {
    let bits = address.to_bits();
    let found = V4.iter().find(|(network, length, _)| {
        let mask = u32::MAX << (32 - length);
        bits & mask == u32::from_be_bytes(*network)
    });
    found.map(|(_, _, what)| *what)
}

/// The same for IPv6, by the first 64 bits of the network.
const V6: [(u64, u32, &str); 12] = [
    (
        0x0064_ff9b_0000_0000,
        64,
        "an address of an IPv4 translator",
    ),
    (
        0x0064_ff9b_0001_0000,
        48,
        "an address of an IPv4 translator",
    ),
    (0x0100_0000_0000_0000, 63, "an address that discards"),
    (0x2001_0000_0000_0000, 32, "an address of a Teredo tunnel"),
    (0x2001_0000_0000_0000, 23, "a reserved address"),
    (0x2001_0db8_0000_0000, 32, "an address for documentation"),
    (0x2002_0000_0000_0000, 16, "an address of a 6to4 tunnel"),
    (0x3fff_0000_0000_0000, 20, "an address for documentation"),
    (0xfc00_0000_0000_0000, 7, "a private address"),
    (0xfe80_0000_0000_0000, 10, "a link-local address"),
    (0xfec0_0000_0000_0000, 10, "a site-local address"),
    (0xff00_0000_0000_0000, 8, "a multicast address"),
];

fn v6(address: Ipv6Addr) -> Option<&'static str> {
    if let Some(inner) = address.to_ipv4_mapped() {
        return v4(inner);
    }

    if address.is_loopback() {
        return Some("a loopback address");
    }

    if address.is_unspecified() {
        return Some("an unspecified address");
    }

    let bits = (address.to_bits() >> 64) as u64;
    let found = V6.iter().find(|(network, length, _)| {
        let mask = u64::MAX << (64 - length);
        bits & mask == *network
    });

    if let Some((_, _, what)) = found {
        return Some(what);
    }

    // Everything outside 2000::/3 is unassigned, IPv4-compatible addresses among it.
    (bits >> 61 != 1).then_some("a reserved address")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_are_public() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "168.63.129.17",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "191.255.255.255",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2001:4860:4860::8888",
            "2001:200::1",
            "2003::1",
            "3ffe::1",
            "::ffff:8.8.8.8",
        ] {
            let address = public.parse().unwrap();
            assert_eq!(why_not_public(address), None, "{public}");
        }
    }

    #[test]
    fn other_addresses_are_not_public_and_are_named() {
        for (address, what) in [
            ("0.0.0.0", "unspecified"),
            ("0.1.2.3", "unspecified"),
            ("10.0.0.0", "private"),
            ("10.255.255.255", "private"),
            ("100.64.0.0", "provider"),
            ("100.127.255.255", "provider"),
            ("100.100.100.200", "provider"),
            ("127.0.0.1", "loopback"),
            ("127.255.255.254", "loopback"),
            ("168.63.129.16", "cloud"),
            ("169.254.169.254", "link-local"),
            ("172.16.0.1", "private"),
            ("172.31.255.255", "private"),
            ("192.0.0.192", "reserved"),
            ("192.0.2.1", "documentation"),
            ("192.88.99.1", "relays"),
            ("192.168.1.1", "private"),
            ("198.18.0.0", "benchmarks"),
            ("198.19.255.255", "benchmarks"),
            ("198.51.100.7", "documentation"),
            ("203.0.113.7", "documentation"),
            ("224.0.0.1", "multicast"),
            ("239.255.255.255", "multicast"),
            ("240.0.0.1", "reserved"),
            ("255.255.255.255", "broadcast"),
            ("::", "unspecified"),
            ("::1", "loopback"),
            ("::127.0.0.1", "reserved"),
            ("::8.8.8.8", "reserved"),
            ("::ffff:127.0.0.1", "loopback"),
            ("::ffff:10.1.2.3", "private"),
            ("::ffff:a9fe:a9fe", "link-local"),
            ("64:ff9b::7f00:1", "translator"),
            ("64:ff9b::8.8.8.8", "translator"),
            ("64:ff9b:1::1", "translator"),
            ("64:ff9b:1:ffff::1", "translator"),
            ("64:ff9b:2::1", "reserved"),
            ("100::1", "discards"),
            ("100:0:0:1::1", "discards"),
            ("2001::1", "Teredo"),
            ("2001:0:ffff::1", "Teredo"),
            ("2001:10::1", "reserved"),
            ("2001:db8::1", "documentation"),
            ("2002:7f00:1::", "6to4"),
            ("3fff::1", "documentation"),
            ("3fff:fff::1", "documentation"),
            ("4000::1", "reserved"),
            ("5f00::1", "reserved"),
            ("fc00::1", "private"),
            ("fd00:ec2::254", "private"),
            ("fe80::1", "link-local"),
            ("febf::1", "link-local"),
            ("fec0::1", "site-local"),
            ("ff02::1", "multicast"),
        ] {
            let found = why_not_public(address.parse().unwrap());
            let found = found.unwrap_or_else(|| panic!("{address} is public"));
            assert!(found.contains(what), "{address} is {found}");
        }
    }

    #[test]
    fn prefix_lengths_never_shift_by_all_bits() {
        assert!(V4.iter().all(|(_, length, _)| (1..=32).contains(length)));
        assert!(V6.iter().all(|(_, length, _)| (1..=64).contains(length)));
    }
}
