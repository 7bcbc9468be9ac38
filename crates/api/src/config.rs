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
