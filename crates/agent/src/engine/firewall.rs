//! Keeps tasks that have the internet off everything else.
//!
//! One nftables table, `inet pouw`, for all machines' agents on a computer: it names interfaces by
//! the prefix that [`super::Owner::bridge_name`] gives, so it is loaded once and never changes with
//! rentals. In nftables an *accept* ends one chain only while a *drop* is final; so whatever the
//! engine's own rules accept, before or after, what is dropped here stays dropped, and the engine's
//! tables, of whichever back end, are not touched.

use super::{EngineError, tool};

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

/// Takes the table away again, as uninstalling does.
///
/// # Errors
/// Where `nft` is missing or refuses.
pub async fn unload() -> Result<(), EngineError> {
    let text = format!("table {TABLE} {{\n}}\ndelete table {TABLE}\n");
    tool::run_as_root("nft", &["-f", "-"], Some(&text)).await.map(drop)
}

/// The digest of the table as the kernel has it; none when there is no table.
pub(crate) async fn digest() -> Result<Option<String>, EngineError> {
    let tables = tool::run_as_root("nft", &["list", "tables"], None).await?;
    if !tables.lines().any(|line| line.trim() == format!("table {TABLE}")) {
        return Ok(None);
    }
    let rules = tool::run_as_root("nft", &["-s", "list", "table", "inet", "pouw"], None).await?;
    Ok(Some(blake3::hash(rules.as_bytes()).to_hex().to_string()))
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

    #[test]
    fn replacing_the_table_is_one_transaction_that_works_without_one() {
        let text = ruleset();
        assert!(
            text.starts_with("table inet pouw {\n}\ndelete table inet pouw\ntable inet pouw {")
        );
    }
}
