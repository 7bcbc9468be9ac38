//! Keeps tasks that have the internet off everything else.
//!
//! One nftables table, `inet pouw`, for all machines' agents on a computer: it names interfaces by
//! the prefix that [`super::Owner::bridge_name`] gives, so it is loaded once and never changes with
//! rentals. In nftables an *accept* ends one chain only while a *drop* is final; so whatever the
//! engine's own rules accept, before or after, what is dropped here stays dropped, and the engine's
//! tables, of whichever back end, are not touched.
//!
//! What passes is counted in a second table, [`traffic`]: counters change with each rental, and the
//! guard never does.

use super::{EngineError, tool};

mod changes;
pub(crate) mod traffic;

pub(crate) use changes::Changes;

/// The table that is ours.
const TABLE: &str = "inet pouw";

/// IPv4 ranges that no task reaches.
///
/// # Source
/// IANA IPv4 Special-Purpose Address Registry: this network, private, shared (CGNAT), loopback,
/// link-local with the metadata address 169.254.169.254, protocol assignments, benchmarking,
/// multicast, reserved with broadcast.
const BLOCKED_IPV4: [&str; 11] = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "224.0.0.0/4",
    "240.0.0.0/4",
];

/// IPv6 ranges that no task reaches: unspecified, loopback, mapped and translated IPv4, discard,
/// Teredo, 6to4, unique local, link-local, site-local, multicast.
///
/// # Source
/// IANA IPv6 Special-Purpose Address Registry.
const BLOCKED_IPV6: [&str; 11] = [
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2002::/16",
    "fc00::/7",
    "fe80::/9",
    "ff00::/8",
];

/// The table as text for `nft -f`: replaces what is there in one transaction.
#[must_use]
pub fn ruleset() -> String {
    let blocked_ipv4 = BLOCKED_IPV4.join(", ");
    let blocked_ipv6 = BLOCKED_IPV6.join(", ");
    format!(
        r#"table {TABLE} {{
}}
delete table {TABLE}
table {TABLE} {{
	set blocked4 {{
		type ipv4_addr
		flags interval
		elements = {{ {blocked_ipv4} }}
	}}
	set blocked6 {{
		type ipv6_addr
		flags interval
		elements = {{ {blocked_ipv6} }}
	}}
	chain to_machine {{
		type filter hook input priority -10; policy accept;
		iifname "pouw-*" ct direction reply ct state established,related accept
		iifname "pouw-*" drop
	}}
	chain through_machine {{
		type filter hook forward priority -10; policy accept;
		iifname "pouw-*" ct direction reply ct state established,related accept
		iifname "pouw-*" ip daddr @blocked4 drop
		iifname "pouw-*" ip6 daddr @blocked6 drop
		iifname "pouw-*" oifname "pouw-*" drop
		iifname "pouw-*" fib daddr type != unicast drop
		iifname "pouw-*" accept
		oifname "pouw-*" ct direction reply ct state established,related accept
		oifname "pouw-*" drop
	}}
}}
"#
    )
}

/// Loads the table; what was loaded before is replaced at once, never gone in between.
pub(crate) async fn load() -> Result<(), EngineError> {
    tool::run_as_root("nft", &["-f", "-"], Some(&ruleset())).await.map(drop)
}

/// Takes the tables away again, as uninstalling does.
///
/// # Errors
/// Where `nft` is missing or refuses.
pub async fn unload() -> Result<(), EngineError> {
    let gone = |table: &str| format!("table {table} {{\n}}\ndelete table {table}\n");
    let text = gone(TABLE) + &gone(traffic::TABLE);
    tool::run_as_root("nft", &["-f", "-"], Some(&text)).await.map(drop)
}

/// What the kernel has of a table; none when there is no such table.
async fn listed(table: &str) -> Result<Option<String>, EngineError> {
    let commands = format!("list table {table}\n");
    match tool::run_as_root("nft", &["-f", "-"], Some(&commands)).await {
        Ok(text) => Ok(Some(text)),
        Err(EngineError::Tool { message, .. }) if message.contains("No such file") => Ok(None),
        Err(error) => Err(error),
    }
}

/// The digest of the table as the kernel has it; none when there is no table.
pub(crate) async fn digest() -> Result<Option<String>, EngineError> {
    Ok(listed(TABLE).await?.map(|rules| digest_of(&rules)))
}

fn digest_of(rules: &str) -> String {
    blake3::hash(rules.as_bytes()).to_hex().to_string()
}

/// Both tables as the kernel has them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Digest of everything in them that no rental changes.
    pub(crate) rules: String,
    /// What is counted.
    pub(crate) traffic: traffic::Traffic,
}

/// Looks at both tables; none when one of them is missing.
///
/// In two runs: one run of `nft` 1.0.6 that lists two tables finds only the last.
pub(crate) async fn look() -> Result<Option<Seen>, EngineError> {
    let (guard, traffic) = tokio::try_join!(listed(TABLE), listed(traffic::TABLE))?;
    Ok(guard.zip(traffic).and_then(|(guard, traffic)| seen(&guard, &traffic)))
}

/// Reads what `nft` lists of both tables.
fn seen(guard: &str, counted: &str) -> Option<Seen> {
    let chain = counted.get(counted.find("chain ")?..)?;
    let rules = digest_of(&format!("{guard}{chain}"));
    Some(Seen { rules, traffic: traffic::Traffic::read(counted) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_is_blocked_before_anything_is_accepted() {
        let text = ruleset();
        let forward = text.split("chain through_machine").nth(1).unwrap();
        let drop_at = forward.find("@blocked4 drop").unwrap();
        let accept_at = forward.find("iifname \"pouw-*\" accept").unwrap();
        assert!(drop_at < accept_at);
        for range in BLOCKED_IPV4.iter().chain(&BLOCKED_IPV6) {
            assert!(text.contains(range), "{range}");
        }
    }

    #[test]
    fn only_our_bridges_are_ever_named() {
        for line in ruleset().lines().filter(|line| line.ends_with("drop")) {
            assert!(line.contains("ifname \"pouw-*\""), "{line}");
        }
    }

    const GUARD: &str = "table inet pouw {\n\tchain to_machine {\n\t}\n}\n";
    /// What `nft` 1.0.6 lists.
    const LISTED: &str = "table inet pouw-traffic {
\tcounter pouw-ab_00000000_sent {
\t\tpackets 3 bytes 180
\t}

\tcounter pouw-ab_00000000_received {
\t\tpackets 2 bytes 4096
\t}

\tmap sent {
\t\ttype ifname : counter
\t\telements = { \"pouw-ab\" : \"pouw-ab_00000000_sent\" }
\t}

\tmap received {
\t\ttype ifname : counter
\t\telements = { \"pouw-ab\" : \"pouw-ab_00000000_received\" }
\t}

\tchain through {
\t\ttype filter hook forward priority 300; policy accept;
\t\tcounter name iifname map @sent
\t\tcounter name oifname map @received
\t}
}
";

    #[test]
    fn counters_and_bridges_leave_the_digest_as_it_is_and_rules_do_not() {
        let before = seen(GUARD, LISTED).unwrap();
        let counted = seen(GUARD, &LISTED.replace("bytes 180", "bytes 999")).unwrap();
        assert_eq!(counted.rules, before.rules);
        assert_ne!(counted.traffic, before.traffic);
        let line = "\t\telements = { \"pouw-ab\" : \"pouw-ab_00000000_sent\" }\n";
        let without = LISTED.replace(line, "");
        assert_ne!(without, LISTED);
        assert_eq!(seen(GUARD, &without).unwrap().rules, before.rules);
        let rule = "\t\tcounter name oifname map @received\n";
        for (guard, counted) in [
            (GUARD.to_owned(), LISTED.replace(rule, "")),
            (GUARD.replace("to_machine", "to_nowhere"), LISTED.to_owned()),
            (GUARD.to_owned(), LISTED.replace("priority 300", "priority -300")),
        ] {
            assert_ne!(seen(&guard, &counted).unwrap().rules, before.rules, "{guard}{counted}");
        }
        assert_eq!(seen(GUARD, "table inet pouw-traffic {\n}\n"), None);
    }

    #[test]
    fn replacing_the_table_is_one_transaction_that_works_without_one() {
        let text = ruleset();
        assert!(
            text.starts_with("table inet pouw {\n}\ndelete table inet pouw\ntable inet pouw {")
        );
    }
}
