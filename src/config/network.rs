//! Addresses of machines, alone or as a network.

use std::net::IpAddr;
use std::str::FromStr;

use thiserror::Error as ThisError;

/// All addresses that begin alike: `10.0.0.0/8`, `2001:db8::/32`, or one address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

/// Not a network: malformed, with bits set beyond its length, or with everybody in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ThisError)]
#[error("not an address, or a network without bits beyond its length")]
pub struct NetworkError;

impl Network {
    /// True when `address` is in it. An IPv4 address that is written as IPv6 is the IPv4 one.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| NetworkError)?;
        let width = if address.is_ipv4() { 32 } else { 128 };
        let bits = match length {
            None => width,
            Some(length) if length.bytes().all(|b| b.is_ascii_digit()) => length
                .parse()
                .ok()
                .filter(|bits| *bits <= width)
                .ok_or(NetworkError)?,
            Some(_) => return Err(NetworkError),
        };
        let rest = match address {
            IpAddr::V4(address) => address.to_bits().trailing_zeros(),
            IpAddr::V6(address) => address.to_bits().trailing_zeros(),
        };
        if bits == 0 || rest < width - bits {
            return Err(NetworkError);
        }
        Ok(Network { address, bits })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_an_address_and_how_much_of_it_counts() {
        let of = |text: &str| text.parse::<Network>().map(|_| ());
        for good in [
            "10.0.0.0/8",
            "10.1.2.3",
            "10.1.2.3/32",
            "128.0.0.0/1",
            "::1",
            "2001:db8::/32",
            "fe80::1/128",
        ] {
            assert_eq!(of(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/+8",
            "10.0.0.0/8/8",
            "10.0.0",
            "10.0.0.0:80",
            "[::1]",
            "proxy.example",
            "10.0.0.0/ 8",
            // Everybody.
            "0.0.0.0/0",
            "::/0",
            // Bits beyond the length.
            "10.0.0.1/8",
            "10.1.2.3/31",
            "2001:db8::1/64",
        ] {
            assert_eq!(of(bad), Err(NetworkError), "{bad}");
        }
    }

    #[test]
    fn an_address_is_in_the_network_that_it_begins_like() {
        #[track_caller]
        fn check(network: &str, address: &str, expected: bool) {
            let network: Network = network.parse().expect("network");
            let address = address.parse().expect("address");
            assert_eq!(network.contains(address), expected, "{address}");
        }
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.0/8", "::ffff:10.0.0.1", true);
        check("10.0.0.0/8", "a00::1", false);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.2", false);
        check("10.1.2.2/31", "10.1.2.3", true);
        check("2001:db8::/32", "2001:db8:1::1", true);
        check("2001:db8::/32", "2001:db9::1", false);
        check("::1", "::1", true);
        check("::1", "127.0.0.1", false);
    }
}
