//! Who may knock: the `Host` a request was addressed to, and the web page it came from.
//!
//! A web page in somebody's browser must not drive a node on that machine. Three checks together
//! see to it. `Host` must be an address or a listed name, so that a name that was rebound to
//! 127.0.0.1 finds nothing. `Origin`, which browsers always send across origins and to
//! sockets, must be listed, the server's own, or a browser extension's (a wallet). And JSON
//! bodies must be declared as JSON (in `server`), so that no page can send one without asking.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{HOST, ORIGIN};
use http::{HeaderMap, HeaderName, StatusCode};

use crate::server::Node;
use crate::v1::Problem;

/// What browsers put before an extension's own name.
const EXTENSIONS: [&str; 3] =
    ["chrome-extension://", "moz-extension://", "safari-web-extension://"];

/// Longest piece of a header that is repeated in an error.
const SHOWN: usize = 100;

/// Lets in who may knock.
pub(crate) async fn guard(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    match check(&node.config.hosts, &node.config.origins, request.headers()) {
        Ok(()) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &HeaderName) -> Option<&'a str> {
    headers.get(name).map(|value| value.to_str().unwrap_or("?"))
}

fn check(hosts: &[String], origins: &[String], headers: &HeaderMap) -> Result<(), Problem> {
    let host = text(headers, &HOST).unwrap_or_default();
    if !host_is_known(hosts, host) {
        let shown: String = host.chars().take(SHOWN).collect();
        return Err(Problem {
            status: StatusCode::FORBIDDEN,
            code: "host",
            message: format!("this server does not answer for host `{shown}`"),
            hint: Some(
                "address it as 127.0.0.1, or start the node with --allow-host NAME".to_owned(),
            ),
        });
    }
    let Some(origin) = text(headers, &ORIGIN) else { return Ok(()) };
    let own = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    let extension = EXTENSIONS.iter().any(|prefix| origin.starts_with(prefix));
    if own == Some(host) || extension || origins.iter().any(|listed| listed == origin) {
        return Ok(());
    }
    let shown: String = origin.chars().take(SHOWN).collect();
    Err(Problem {
        status: StatusCode::FORBIDDEN,
        code: "origin",
        message: format!("pages of `{shown}` may not use this server"),
        hint: Some("start the node with --allow-origin ORIGIN".to_owned()),
    })
}

fn host_is_known(hosts: &[String], host: &str) -> bool {
    // An IPv6 address stands in brackets, with the port behind them.
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, _)) => return address.parse::<IpAddr>().is_ok(),
        None => host.split_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost")
        || name.parse::<IpAddr>().is_ok()
        || hosts.iter().any(|listed| listed.eq_ignore_ascii_case(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rebound_name_finds_nothing() {
        let hosts = ["node.example".to_owned()];
        let check = |host: &str, expected: bool| {
            assert_eq!(host_is_known(&hosts, host), expected, "{host:?}");
        };
        check("127.0.0.1:8545", true);
        check("127.0.0.1", true);
        check("[::1]:8545", true);
        check("localhost:8545", true);
        check("LOCALHOST", true);
        check("node.example:443", true);
        check("evil.example", false);
        check("127.0.0.1.evil.example:8545", false);
        check("localhost.evil.example", false);
        check("[evil]", false);
        check("", false);
        check("node.example.", false);
    }

    #[test]
    fn only_listed_pages_extensions_and_our_own_come_in() {
        let origins = ["https://wallet.example".to_owned()];
        let check = |origin: Option<&str>, expected: bool| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:8545".parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            assert_eq!(check(&[], &origins, &headers).is_ok(), expected, "{origin:?}");
        };
        check(None, true);
        check(Some("http://127.0.0.1:8545"), true);
        check(Some("https://wallet.example"), true);
        check(Some("chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn"), true);
        check(Some("http://127.0.0.1:3000"), false);
        check(Some("https://evil.example"), false);
        check(Some("https://wallet.example.evil.example"), false);
        check(Some("null"), false);
    }
}
