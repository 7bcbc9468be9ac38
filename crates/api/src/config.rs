//! What a node's doors allow; every field has a bound by default.

use std::time::Duration;

/// Limits and guests of the server.
#[derive(Clone, Debug)]
pub struct Config {
    /// Names under which this server may be addressed, beside loopback: what stands in `Host`,
    /// without port. Others are refused, so that no web page reaches a node by DNS rebinding.
    pub hosts: Vec<String>,
    /// Web origins, such as `https://wallet.example`, whose pages may use this server. None by
    /// default: wallets in extensions and programs need none.
    pub origins: Vec<String>,
    /// Bytes of a request body or WebSocket message.
    pub body_bytes: usize,
    /// Bytes of an answer, over all of a batch.
    pub response_bytes: usize,
    /// Requests in a batch.
    pub batch: usize,
    /// Connections at once; more wait.
    pub connections: usize,
    /// Time for one request.
    pub request_timeout: Duration,
    /// Subscriptions of one WebSocket.
    pub subscriptions: usize,
    /// Filters of all clients together.
    pub filters: usize,
    /// A filter that nobody asks for this long is dropped.
    pub filter_ttl: Duration,
    /// Heights that one log query may span.
    pub log_blocks: u64,
    /// Logs that one query may return.
    pub logs: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            hosts: Vec::new(),
            origins: Vec::new(),
            body_bytes: 1024 * 1024,
            response_bytes: 16 * 1024 * 1024,
            batch: 100,
            connections: 256,
            request_timeout: Duration::from_secs(20),
            subscriptions: 32,
            filters: 1_000,
            filter_ttl: Duration::from_secs(300),
            log_blocks: 10_000,
            logs: 10_000,
        }
    }
}

/// A guest of the server can't be listed as it was written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// No host name.
    #[error("`{0}` is no host name: write it as `node.example`, without scheme and port")]
    Host(String),
    /// No origin.
    #[error(
        "`{0}` is no origin: write it as a browser sends it, `https://wallet.example` or \
         `http://127.0.0.1:3000`, lower case, without a path; there is no wildcard"
    )]
    Origin(String),
}

/// Longest name of a host, in bytes (RFC 1035).
const MAX_HOST_BYTES: usize = 253;

fn is_name(name: &str) -> bool {
    let label = |label: &str| {
        let inside = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
        (1..=63).contains(&label.len()) && label.chars().all(inside)
    };
    name.len() <= MAX_HOST_BYTES && name.split('.').all(label)
}

/// A name for [`Config::hosts`].
///
/// # Errors
/// [`GuestError::Host`] for anything with a scheme, a port, a path or a wildcard.
pub fn parse_host(text: &str) -> Result<String, GuestError> {
    if is_name(text) { Ok(text.to_owned()) } else { Err(GuestError::Host(text.to_owned())) }
}

/// An origin for [`Config::origins`], compared byte by byte with what browsers send.
///
/// # Errors
/// [`GuestError::Origin`] for anything that no browser would send as the origin of a web page.
pub fn parse_origin(text: &str) -> Result<String, GuestError> {
    let refuse = || GuestError::Origin(text.to_owned());
    let authority = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let authority = authority.ok_or_else(refuse)?;
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, rest)) => {
            address.parse::<std::net::Ipv6Addr>().map_err(|_| refuse())?;
            (None, rest.strip_prefix(':').or_else(|| rest.is_empty().then_some("0")))
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (Some(host), Some(port)),
            None => (Some(authority), Some("0")),
        },
    };
    let port_is_one = port.is_some_and(|port| port.parse::<u16>().is_ok());
    if !port_is_one || !host.is_none_or(is_name) || authority.contains(char::is_uppercase) {
        return Err(refuse());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guests_are_listed_as_they_knock() {
        let check = |text: &str, host: bool, origin: bool| {
            assert_eq!(parse_host(text).is_ok(), host, "host {text}");
            assert_eq!(parse_origin(text).is_ok(), origin, "origin {text}");
        };
        check("node.example", true, false);
        check("node", true, false);
        check("node.example:8545", false, false);
        check("*", false, false);
        check("*.example", false, false);
        check("", false, false);
        check("https://wallet.example", false, true);
        check("http://127.0.0.1:3000", false, true);
        check("http://[::1]:3000", false, true);
        check("http://[::1]", false, true);
        check("http://[::1]x", false, false);
        check("https://wallet.example/", false, false);
        check("https://Wallet.example", false, false);
        check("https://wallet.example:port", false, false);
        check("https://*.example", false, false);
        check("https://", false, false);
        check("null", true, false);
    }
}
