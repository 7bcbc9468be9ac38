//! Machines and rentals on a chain in memory, as transactions.

use std::sync::atomic::Ordering;

use alloy_consensus::{SignableTransaction, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718;
use alloy_primitives::{Address, B256, Bytes, TxKind, U256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use pouw_consensus::{Lane, lane_key_of};
use pouw_types::contracts::{
    Caps, HOSTS, IHosts, IRentals, Quote, RENTALS, Rates, Receipt, Registration, Term,
};
use pouw_types::signing::Signable;

use super::fixture::{GWEI, Node, funded};
use crate::{Block, Imported};

pub(super) const FLUX: u128 = 1_000_000_000_000_000_000;
/// Price of an active second: large beside the subsidy, so that shares move.
pub(super) const RATE: u128 = 10 * FLUX;

/// A machine with its lane key, run by one of the funded accounts.
#[derive(Clone)]
pub(super) struct Host {
    pub(super) key: PrivateKeySigner,
    pub(super) operator: PrivateKeySigner,
    pub(super) secret: [u8; 32],
    pub(super) miner: Address,
}

pub(super) fn host(number: u8) -> Host {
    Host {
        key: PrivateKeySigner::from_bytes(&B256::repeat_byte(number)).unwrap(),
        operator: funded(u32::from(number)),
        secret: [number; 32],
        miner: Address::repeat_byte(number),
    }
}

fn sign(key: &PrivateKeySigner, digest: B256) -> Bytes {
    key.sign_hash_sync(&digest).unwrap().as_bytes().to_vec().into()
}

/// Who rents; its signer has the same key.
pub(super) fn client() -> PrivateKeySigner {
    funded(0)
}

impl Host {
    pub(super) fn machine(&self) -> Address {
        self.key.address()
    }
}

/// A rental and its last receipt.
#[derive(Clone)]
pub(super) struct Rental {
    pub(super) id: B256,
    host: Host,
    last: Receipt,
}

impl Node {
    pub(super) fn now_s(&self) -> u64 {
        self.now.load(Ordering::SeqCst) / 1_000
    }

    /// Sends a call into the mempool.
    pub(super) fn send(
        &self,
        from: &PrivateKeySigner,
        to: Address,
        value: u128,
        call: &impl SolCall,
    ) -> B256 {
        let tx = TxEip1559 {
            chain_id: self.chain.network().chain_id,
            nonce: self.chain.pending_nonce(from.address()).unwrap(),
            gas_limit: 400_000,
            max_fee_per_gas: 10 * GWEI,
            max_priority_fee_per_gas: 0,
            to: TxKind::Call(to),
            value: U256::from(value),
            input: call.abi_encode().into(),
            ..TxEip1559::default()
        };
        let signature = from.sign_hash_sync(&tx.signature_hash()).unwrap();
        let raw = TxEnvelope::from(tx.into_signed(signature)).encoded_2718();
        self.chain.submit(&raw).unwrap()
    }

    pub(super) fn assert_done(&self, tx: B256) {
        let found = self.chain.transaction(tx).unwrap().expect("it is in a block");
        assert!(found.receipt.success(), "{:?}", found.receipt.revert);
    }

    /// Registers a machine, with its lane key, in a block.
    pub(super) fn register(&self, host: &Host) {
        let consent = Registration { machine: host.machine(), operator: host.operator.address() };
        let signature = sign(&host.key, consent.digest(self.chain.network().chain_id));
        let register = IHosts::registerCall {
            machine: host.machine(),
            units: 4,
            payout: host.operator.address(),
            miner: host.miner,
            offerHash: B256::ZERO,
            signature,
        };
        let sent = self.send(&host.operator, HOSTS, 100 * FLUX, &register);
        let key = lane_key_of(&host.secret).into();
        let call = IHosts::setLaneKeyCall { machine: host.machine(), laneKey: key };
        let keyed = self.send(&host.operator, HOSTS, 0, &call);
        self.mine(2_000);
        self.assert_done(sent);
        self.assert_done(keyed);
    }

    /// Opens a rental of a host's machine, in a block.
    pub(super) fn rent(&self, host: &Host, earns: u8, nonce: u64) -> Rental {
        let now = self.now_s();
        let quote = Quote {
            nonce,
            client: client().address(),
            machine: host.machine(),
            units: 1,
            specHash: B256::ZERO,
            imageDigest: B256::ZERO,
            issuedAt: now,
            expires: now + 300,
            startBy: now + 600,
            endBy: now + 1_000_000,
            model: 0,
            earns,
            rates: Rates { activeSecond: RATE, storageGibSecond: 0, trafficByte: 0 },
            caps: Caps {
                activeS: 40_000,
                storageGib: 0,
                trafficB: 0,
                preparationS: 600,
                uploadS: 600,
            },
            term: Term { lengthS: 0, activeSecond: 0 },
            refundWindowS: 600,
            bond: 0,
            continues: B256::ZERO,
            factors: vec![],
        };
        let id = quote.digest(self.chain.network().chain_id);
        let signature = sign(&host.key, id);
        let call = IRentals::openCall { quote, signature, signer: client().address() };
        let sent = self.send(&client(), RENTALS, 50_000 * FLUX, &call);
        self.mine(2_000);
        self.assert_done(sent);
        let last = Receipt { rental: id, ..Receipt::default() };
        Rental { id, host: host.clone(), last }
    }

    /// Sends a receipt of this many more active seconds and multiplications, all done; the clock
    /// passes as long.
    pub(super) fn bill(&self, rental: &mut Rental, seconds: u64, work: u128) -> B256 {
        self.now.fetch_add(seconds * 1_000, Ordering::SeqCst);
        let last = &rental.last;
        let active = last.activeS + seconds;
        let receipt = Receipt {
            seq: last.seq + 1,
            at: self.now_s(),
            activeS: active,
            doneS: active,
            workMacs: last.workMacs + work,
            ..last.clone()
        };
        rental.last = receipt.clone();
        let digest = receipt.digest(self.chain.network().chain_id);
        let call = IRentals::settleCall {
            receipt,
            machineSignature: sign(&rental.host.key, digest),
            signerSignature: sign(&client(), digest),
        };
        self.send(&client(), RENTALS, 0, &call)
    }

    /// [`Node::bill`] in a block.
    pub(super) fn settle(&self, rental: &mut Rental, seconds: u64, work: u128) -> Block {
        let sent = self.bill(rental, seconds, work);
        let block = self.mine(2_000);
        self.assert_done(sent);
        block
    }

    /// Wins a block of lane 2 on the head if the next second wins, the clock moving by that.
    pub(super) fn draw(&self, host: &Host, after_ms: u64) -> Option<Block> {
        self.now.fetch_add(after_ms, Ordering::SeqCst);
        let lot = self.chain.lot(host.machine()).unwrap()?;
        let proof = lot.draw(&host.secret, self.now_s())?;
        let template = self.chain.template_of(Lane::Credit, host.miner).unwrap();
        let block = template.claimed(host.machine(), &host.secret, proof);
        assert_eq!(self.chain.import_block(block.clone()).unwrap(), Imported::Extended);
        Some(block)
    }

    /// I-1, by everything that the chain shows.
    pub(super) fn supply(&self) -> IRentals::totalsReturn {
        let height = self.chain.head().height();
        let state = self.chain.state_at(height).unwrap();
        let env = pouw_ledger::BlockEnv {
            network: self.chain.network(),
            height: height + 1,
            time_ms: self.chain.now_ms(),
            payout: Address::ZERO,
            base_fee: 0,
            subsidy: pouw_types::Amount::ZERO,
        };
        let data = IRentals::totalsCall {}.abi_encode();
        let zero = pouw_types::Amount::ZERO;
        let totals = pouw_ledger::call(&state, &env, Address::ZERO, RENTALS, zero, &data).unwrap();
        let totals = IRentals::totalsCall::abi_decode_returns(&totals).unwrap();
        let held = [totals.balances, totals.escrows, totals.bonds, totals.stakes, totals.pool];
        let held = held.into_iter().fold(totals.immature, |sum, part| sum + part);
        assert_eq!(totals.genesisSupply + totals.subsidies - totals.burned, held, "I-1");
        totals
    }
}
