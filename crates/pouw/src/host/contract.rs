//! The chain as the agent sees it, over a node's JSON-RPC.

use alloy_primitives::{Address, B256};
use alloy_sol_types::SolCall;
use async_trait::async_trait;
use pouw_agent::{Contract, ContractError, Head, HostCall, Inclusion};
use pouw_types::contracts::{HOSTS, IHosts, IRentals, Quote, RENTALS};
use pouw_types::{MachineId, RentalId};

use crate::client::rpc::{Rpc, RpcError};
use crate::client::sender::{Order, SendError, Sender};

/// A node, and the operator's account that sends through it.
#[derive(Debug)]
pub struct NodeContract {
    rpc: Rpc,
    operator: Sender,
}

impl NodeContract {
    /// Follows the node of `rpc` and sends as `operator`.
    #[must_use]
    pub const fn new(rpc: Rpc, operator: Sender) -> Self {
        Self { rpc, operator }
    }

    async fn view<C: SolCall>(&self, to: Address, call: C) -> Result<C::Return, ContractError> {
        self.rpc.view(to, &call).await.map_err(rpc_error)
    }
}

fn rpc_error(error: RpcError) -> ContractError {
    match error {
        RpcError::Unreachable { .. }
        | RpcError::NotIncluded(..)
        | RpcError::Malformed { .. }
        | RpcError::Foreign { .. } => ContractError::Unreachable(in_full(error)),
        RpcError::Refused { message, .. } => ContractError::Refused(message),
    }
}

fn send_error(error: SendError) -> ContractError {
    match error {
        SendError::Rpc(error) => rpc_error(error),
        SendError::Sign(..) | SendError::Reverted { .. } => ContractError::Refused(in_full(error)),
    }
}

/// An error with its causes, in one line.
fn in_full(error: impl Into<anyhow::Error>) -> String {
    format!("{:#}", error.into())
}

#[async_trait]
impl Contract for NodeContract {
    async fn head(&self) -> Result<Head, ContractError> {
        let head = self.rpc.head().await.map_err(rpc_error)?;
        Ok(Head { height: head.number.to(), hash: head.hash, time_s: head.timestamp.to() })
    }

    async fn active_of(&self, machine: MachineId) -> Result<Vec<RentalId>, ContractError> {
        let call = IRentals::activeOfCall { party: machine.get() };
        let ids = self.view(RENTALS, call).await?;
        Ok(ids.into_iter().map(RentalId::new).collect())
    }

    async fn rental(&self, rental: RentalId) -> Result<IRentals::Rental, ContractError> {
        self.view(RENTALS, IRentals::rentalOfCall { rental: rental.get() }).await
    }

    async fn quote(&self, rental: RentalId) -> Result<Quote, ContractError> {
        self.view(RENTALS, IRentals::quoteOfCall { rental: rental.get() }).await
    }

    async fn machine(&self, machine: MachineId) -> Result<IHosts::Machine, ContractError> {
        self.view(HOSTS, IHosts::machineOfCall { machine: machine.get() }).await
    }

    fn operator(&self) -> Address {
        self.operator.address()
    }

    async fn submit(&self, call: HostCall) -> Result<B256, ContractError> {
        let order = Order { to: call.to(), value: call.value(), data: call.input() };
        self.operator.send(&self.rpc, &order).await.map_err(send_error)
    }

    async fn inclusion(&self, transaction: B256) -> Result<Option<Inclusion>, ContractError> {
        let receipt = self.rpc.receipt(transaction).await.map_err(rpc_error)?;
        Ok(receipt.map(|receipt| Inclusion {
            height: receipt.block_number.to(),
            succeeded: receipt.succeeded(),
            reason: receipt.revert_reason.unwrap_or_default(),
        }))
    }
}
