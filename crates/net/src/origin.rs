//! Where peers call from (N-15). A key costs nothing, an address does: what its keys do wrong
//! counts for the address too, and one that has three of them banned is not let in for an hour.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::collections::{BTreeMap, BTreeSet};

use crate::score::{BAN_AT, BAN_MS, Bucket, Offence, Score};

/// Points at which an address is banned: those of three banned keys, as a household or an office
/// may share it.
const ADDRESS_BAN_AT: u32 = 3 * BAN_AT;
/// How many addresses are remembered.
const CAPACITY: usize = 4_096;
/// Calls of one address in a burst, and a second after it.
const CALLS: (u64, u64) = (32, 1);

/// Whoever has one address: an IPv4 address, or the 64 bits of an IPv6 network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Origin(IpAddr);

impl Origin {
    /// Of an address; none of loopback, where everybody is one machine.
    #[must_use]
    pub fn of(ip: IpAddr) -> Option<Self> {
        let ip = match ip.to_canonical() {
            IpAddr::V6(ip) if !ip.is_loopback() => masked(ip, 64).into(),
            ip => ip,
        };
        (!ip.is_loopback()).then_some(Self(ip))
    }

    /// What its provider has around it: 256 IPv4 addresses, or the 48 bits of an IPv6 site.
    #[must_use]
    pub fn neighbourhood(self) -> IpAddr {
        match self.0 {
            IpAddr::V4(ip) => Ipv4Addr::from(u32::from(ip) & 0xffff_ff00).into(),
            IpAddr::V6(ip) => masked(ip, 48).into(),
        }
    }
}

fn masked(ip: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(ip) & (u128::MAX << 128u32.saturating_sub(bits)))
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    score: Score,
    calls: Bucket,
    banned_until_ms: u64,
    seen_ms: u64,
}

/// What is thought of a caller's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It may talk.
    Welcome,
    /// Its address is banned.
    Banned,
    /// It calls more often than anybody needs.
    TooOften,
}

/// What is known of addresses; forgotten when the node ends.
#[derive(Clone, Debug, Default)]
pub struct Origins(BTreeMap<Origin, Entry>);

impl Origins {
    /// Counts a call, before anything is said.
    pub fn call(&mut self, now_ms: u64, origin: Origin) -> Admission {
        let entry = self.entry(now_ms, origin);
        if entry.banned_until_ms > now_ms {
            return Admission::Banned;
        }
        if entry.calls.take(now_ms, 1) {
            return Admission::Welcome;
        }
        self.blame(now_ms, origin, Offence::Flooded);
        Admission::TooOften
    }

    /// Counts a misdeed of a peer that is seen there.
    pub fn blame(&mut self, now_ms: u64, origin: Origin, offence: Offence) {
        let entry = self.entry(now_ms, origin);
        if entry.score.count(now_ms, offence) >= ADDRESS_BAN_AT {
            entry.banned_until_ms = now_ms.saturating_add(BAN_MS);
            tracing::info!(?origin, "address banned");
        }
    }

    /// Whether it is banned.
    #[must_use]
    pub fn is_banned(&self, now_ms: u64, origin: Origin) -> bool {
        self.0.get(&origin).is_some_and(|entry| entry.banned_until_ms > now_ms)
    }

    /// Who is banned, so that no handshake is made with them.
    #[must_use]
    pub fn banned(&self, now_ms: u64) -> BTreeSet<Origin> {
        let banned = self.0.iter().filter(|(_, entry)| entry.banned_until_ms > now_ms);
        banned.map(|(origin, _)| *origin).collect()
    }

    /// How many are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// An origin's, made in the place of whoever was seen longest ago; of the banned only where all are.
    fn entry(&mut self, now_ms: u64, origin: Origin) -> &mut Entry {
        if self.0.len() >= CAPACITY && !self.0.contains_key(&origin) {
            let oldest = self
                .0
                .iter()
                .min_by_key(|(_, entry)| (entry.banned_until_ms > now_ms, entry.seen_ms))
                .map(|(origin, _)| *origin);
            if let Some(oldest) = oldest {
                self.0.remove(&oldest);
            }
        }
        let (burst, per_s) = CALLS;
        let entry = self.0.entry(origin).or_insert_with(|| Entry {
            score: Score::default(),
            calls: Bucket::new(burst, per_s),
            banned_until_ms: 0,
            seen_ms: now_ms,
        });
        entry.seen_ms = now_ms;
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> Origin {
        Origin::of(text.parse().unwrap()).unwrap()
    }

    #[test]
    fn an_origin_is_what_one_party_has() {
        assert_eq!(Origin::of("127.0.0.1".parse().unwrap()), None);
        assert_eq!(Origin::of("::1".parse().unwrap()), None);
        assert_eq!(origin("::ffff:1.2.3.4"), origin("1.2.3.4"));
        assert_ne!(origin("1.2.3.4"), origin("1.2.3.5"));
        assert_eq!(origin("2001:db8:0:1::1"), origin("2001:db8:0:1:ffff::2"));
        assert_ne!(origin("2001:db8:0:1::1"), origin("2001:db8:0:2::1"));
        let near =
            |one: &str, other: &str| origin(one).neighbourhood() == origin(other).neighbourhood();
        assert!(near("1.2.3.4", "1.2.3.200") && !near("1.2.3.4", "1.2.4.4"));
        assert!(
            near("2001:db8:0:1::1", "2001:db8:0:2::1") && !near("2001:db8:1::", "2001:db8:2::")
        );
    }

    #[test]
    fn n15_an_address_whose_keys_are_banned_is_banned_for_a_time() {
        let (mut origins, bad, other) = (Origins::default(), origin("1.1.1.1"), origin("1.1.1.2"));
        for _ in 0..2 {
            origins.blame(5, bad, Offence::Malformed);
            assert_eq!(origins.call(5, bad), Admission::Welcome, "some keys of a household");
        }
        origins.blame(5, bad, Offence::InvalidBlock);
        assert_eq!(origins.call(6, bad), Admission::Banned);
        assert_eq!(origins.banned(6), [bad].into());
        assert_eq!(origins.call(6, other), Admission::Welcome);
        assert_eq!(origins.call(5 + BAN_MS, bad), Admission::Welcome);
    }

    #[test]
    fn n15_an_address_that_calls_without_end_is_not_answered() {
        let (mut origins, one) = (Origins::default(), origin("1.1.1.1"));
        let answers: Vec<_> = (0..60).map(|_| origins.call(1_000, one)).collect();
        assert_eq!(answers.iter().filter(|one| **one == Admission::Welcome).count(), 32);
        assert_eq!(answers.last(), Some(&Admission::Banned), "it went on for too long");
    }

    #[test]
    fn n15_the_memory_of_addresses_is_bounded_and_bans_stay_longest() {
        let (mut origins, bad) = (Origins::default(), origin("9.9.9.9"));
        for _ in 0..3 {
            origins.blame(1, bad, Offence::Malformed);
        }
        for number in 0..10_000u32 {
            let ip = IpAddr::from(Ipv4Addr::from(0x0a00_0000 + number));
            origins.call(2 + u64::from(number), Origin::of(ip).unwrap());
        }
        assert_eq!(origins.len(), CAPACITY);
        assert!(origins.is_banned(20_000, bad));
    }
}
