//! Exit codes: what a script can learn from a command without reading.

use std::process::ExitCode;

use pouw_data::TransferError;

use crate::client::node::NodeError;
use crate::client::rpc::RpcError;
use crate::client::sender::SendError;
use crate::config::ConfigError;

/// Somebody said no: too little money, no consent, a price above the limit.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Refused(pub String);

/// The input was wrong: a specification, an address, a path.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct WrongInput(pub String);

/// The task ran and failed.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct TaskFailed(pub String);

/// Ctrl-C.
#[derive(Debug, thiserror::Error)]
#[error("interrupted")]
pub struct Interrupted;

/// The exit code of an error, by its cause.
#[must_use]
pub fn code(error: &anyhow::Error) -> ExitCode {
    ExitCode::from(number(error))
}

fn number(error: &anyhow::Error) -> u8 {
    for cause in error.chain() {
        let rpc =
            cause.downcast_ref::<RpcError>().or_else(|| match cause.downcast_ref::<SendError>() {
                Some(SendError::Rpc(rpc)) => Some(rpc),
                Some(SendError::Sign(..) | SendError::Reverted { .. }) | None => None,
            });
        match rpc {
            Some(RpcError::Refused { .. }) => return 3,
            Some(RpcError::Unreachable { .. }) => return 5,
            Some(
                RpcError::Malformed { .. } | RpcError::Foreign { .. } | RpcError::NotIncluded(..),
            ) => return 1,
            None => {}
        }
        match cause.downcast_ref::<NodeError>() {
            Some(NodeError::Unreachable { .. }) => return 5,
            Some(NodeError::Refused { .. }) => return 3,
            Some(NodeError::Malformed { .. }) => return 1,
            None => {}
        }
        match cause.downcast_ref::<TransferError>() {
            Some(TransferError::Refused { status: 401 | 403, .. }) => return 3,
            Some(TransferError::Network { .. }) => return 5,
            Some(_) => return 1,
            None => {}
        }
        if cause.is::<Refused>() || cause.is::<SendError>() {
            return 3;
        }
        if cause.is::<WrongInput>() || cause.is::<ConfigError>() {
            return 2;
        }
        if cause.is::<TaskFailed>() {
            return 4;
        }
        if cause.is::<Interrupted>() {
            return 130;
        }
    }
    1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cause_decides_the_code() {
        let refused =
            RpcError::Refused { method: String::new(), code: -32000, message: String::new() };
        for (error, expected) in [
            (anyhow::anyhow!("anything"), 1),
            (anyhow::Error::from(WrongInput(String::new())).context("outer"), 2),
            (anyhow::Error::from(Refused(String::new())), 3),
            (anyhow::Error::from(SendError::Rpc(refused)), 3),
            (anyhow::Error::from(TaskFailed(String::new())), 4),
            (anyhow::Error::from(Interrupted), 130),
        ] {
            assert_eq!(number(&error), expected, "{error:?}");
        }
    }
}
