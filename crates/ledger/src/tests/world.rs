//! A small world to play in: a state in memory, a clock, and parties with keys.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use alloy_primitives::{Address, B256, Bytes};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::SolCall;
use pouw_types::contracts::IRentals::{self, Phase, Reason};
use pouw_types::contracts::{
    Caps, HOSTS, IHosts, Quote, RENTALS, Rates, Receipt, Registration, Term,
};
use pouw_types::signing::Signable;
use pouw_types::{Amount, Network};

use crate::book::Book;
use crate::contract::{Mode, Native};
use crate::execution::{BlockEnv, Log};
use crate::record::{Account, Machine, Record, Totals};
use crate::revert::Fault;
use crate::settlement::Settlement;
use crate::state::{self, key};

pub(super) type Memory = BTreeMap<Vec<u8>, Vec<u8>>;

pub(super) const START_S: u64 = 2_000_000_000;
pub(super) const FLUX: u128 = 1_000_000_000_000_000_000;
/// Price of an active second in the usual quote.
pub(super) const RATE: u128 = 1_000_003;
pub(super) const STORAGE_RATE: u128 = 17;
pub(super) const TRAFFIC_RATE: u128 = 3;

/// State, clock and height; a clone is another branch.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) memory: Memory,
    pub(super) height: u64,
    pub(super) now_s: u64,
    pub(super) network: &'static Network,
    /// What rentals paid, in order.
    pub(super) settlements: Vec<Settlement>,
}

/// Made once: finding the address of a key is slow in a debug build.
static PARTIES: LazyLock<Vec<PrivateKeySigner>> = LazyLock::new(|| {
    let key = |number| {
        let mut bytes = [0x11; 32];
        bytes[31] = number;
        PrivateKeySigner::from_bytes(&B256::from(bytes)).unwrap()
    };
    (0..=u8::MAX).map(key).collect()
});

/// Somebody with a key.
pub(super) fn party(number: u8) -> PrivateKeySigner {
    PARTIES[usize::from(number)].clone()
}

pub(super) fn sign(key: &PrivateKeySigner, digest: B256) -> Bytes {
    key.sign_hash_sync(&digest).unwrap().as_bytes().to_vec().into()
}

impl World {
    /// After genesis, with a balance for each of the parties 1 to 9.
    pub(super) fn new() -> Self {
        let network = Network::devnet();
        let mut world = Self {
            memory: Memory::new(),
            height: 1,
            now_s: START_S,
            network,
            settlements: Vec::new(),
        };
        world.write(state::genesis(network));
        let purse = network.genesis[0].address;
        for number in 1..10 {
            let to = party(number).address();
            let mut book = Book::open(&world.memory).unwrap();
            assert!(book.debit(purse, Amount::from_flux(1_000)).unwrap());
            book.credit(to, Amount::from_flux(1_000)).unwrap();
            let writes = book.into_writes();
            world.write(writes);
        }
        world
    }

    pub(super) fn write(&mut self, writes: crate::Writes) {
        for (key, value) in writes {
            match value {
                Some(value) => self.memory.insert(key, value),
                None => self.memory.remove(&key),
            };
        }
    }

    pub(super) fn env(&self) -> BlockEnv {
        BlockEnv {
            network: self.network,
            height: self.height,
            time_ms: self.now_s * 1_000,
            payout: party(200).address(),
            base_fee: self.network.min_base_fee,
            subsidy: self.network.subsidy,
        }
    }

    pub(super) fn pass(&mut self, blocks: u64, seconds: u64) {
        self.height += blocks;
        self.now_s += seconds;
    }

    /// A call by somebody, without gas; the text of the refusal where it fails.
    pub(super) fn send(
        &mut self,
        by: Address,
        value: u128,
        call: &impl SolCall,
    ) -> Result<Vec<Log>, String> {
        self.send_raw(by, RENTALS, value, &call.abi_encode())
    }

    pub(super) fn send_hosts(
        &mut self,
        by: Address,
        value: u128,
        call: &impl SolCall,
    ) -> Result<Vec<Log>, String> {
        self.send_raw(by, HOSTS, value, &call.abi_encode())
    }

    pub(super) fn send_raw(
        &mut self,
        by: Address,
        to: Address,
        value: u128,
        data: &[u8],
    ) -> Result<Vec<Log>, String> {
        let env = self.env();
        let mut book = Book::open(&self.memory).unwrap();
        book.start();
        let mut native = Native::new(&mut book, &env, by, Amount::from_atto(value));
        let result = native.run(to, data, Mode::Transaction);
        let (logs, settlements) = (native.logs, native.settlements);
        match result {
            Ok(_) => {
                self.settlements.extend(settlements);
                book.keep();
                let writes = book.into_writes();
                self.write(writes);
                Ok(logs)
            }
            Err(Fault::Revert(revert)) => {
                book.revert();
                assert!(book.into_writes().is_empty(), "a refused call changed something");
                Err(revert.to_string())
            }
            Err(Fault::State(error)) => panic!("{error}"),
        }
    }

    pub(super) fn view<C: SolCall>(&self, to: Address, call: &C) -> C::Return {
        let (env, data) = (self.env(), call.abi_encode());
        let output =
            crate::call(&self.memory, &env, Address::ZERO, to, Amount::ZERO, &data).unwrap();
        C::abi_decode_returns_validate(&output).unwrap()
    }

    pub(super) fn rental(&self, rental: B256) -> IRentals::Rental {
        self.view(RENTALS, &IRentals::rentalOfCall { rental })
    }

    pub(super) fn machine(&self, machine: Address) -> Machine {
        self.view(HOSTS, &IHosts::machineOfCall { machine })
    }

    pub(super) fn balance(&self, address: Address) -> u128 {
        state::account(&self.memory, address).unwrap().balance.atto()
    }

    pub(super) fn totals(&self) -> Totals {
        Totals::decode_stored(b"t", &self.memory[&key::totals()]).unwrap()
    }

    /// The sum of all accounts.
    pub(super) fn balances(&self) -> u128 {
        let accounts = self.memory.iter().filter(|(key, _)| key[0] == b'a');
        accounts
            .map(|(key, bytes)| Account::decode_stored(key, bytes).unwrap().balance.atto())
            .sum()
    }
}

/// A world with one machine, its operator, a client and a signer.
#[derive(Clone, Debug)]
pub(super) struct Scene {
    pub(super) world: World,
    pub(super) machine: PrivateKeySigner,
    pub(super) signer: PrivateKeySigner,
    pub(super) operator: Address,
    pub(super) payout: Address,
    pub(super) client: Address,
    pub(super) stranger: Address,
}

pub(super) const UNITS: u32 = 4;
pub(super) const BOND: u128 = 10 * FLUX;

impl Scene {
    pub(super) fn new() -> Self {
        let mut scene = Self {
            world: World::new(),
            machine: party(101),
            signer: party(102),
            operator: party(1).address(),
            payout: party(103).address(),
            client: party(2).address(),
            stranger: party(3).address(),
        };
        scene.register(&party(101), scene.operator, scene.payout).unwrap();
        scene
    }

    pub(super) fn register(
        &mut self,
        machine: &PrivateKeySigner,
        operator: Address,
        payout: Address,
    ) -> Result<Vec<Log>, String> {
        let consent = Registration { machine: machine.address(), operator };
        let signature = sign(machine, consent.digest(self.world.network.chain_id));
        let call = IHosts::registerCall {
            machine: machine.address(),
            units: UNITS,
            payout,
            miner: payout,
            offerHash: B256::ZERO,
            signature,
        };
        self.world.send_hosts(operator, BOND, &call)
    }

    /// Valid, on demand, an hour of active time, a day to end.
    pub(super) fn quote(&self) -> Quote {
        let now = self.world.now_s;
        Quote {
            nonce: 1,
            client: self.client,
            machine: self.machine.address(),
            units: 1,
            specHash: B256::repeat_byte(1),
            imageDigest: B256::repeat_byte(2),
            issuedAt: now,
            expires: now + 300,
            startBy: now + 600,
            endBy: now + 86_400,
            model: 0,
            earns: 0,
            rates: Rates {
                activeSecond: RATE,
                storageGibSecond: STORAGE_RATE,
                trafficByte: TRAFFIC_RATE,
            },
            caps: Caps {
                activeS: 40_000,
                storageGib: 2,
                trafficB: 1_000_000,
                preparationS: 600,
                uploadS: 600,
            },
            term: Term { lengthS: 0, activeSecond: 0 },
            refundWindowS: 600,
            bond: FLUX,
            continues: B256::ZERO,
            factors: vec![],
        }
    }

    pub(super) fn chain_id(&self) -> u64 {
        self.world.network.chain_id
    }

    pub(super) fn open_with(&mut self, quote: &Quote, deposit: u128) -> Result<B256, String> {
        let key = self.machine.clone();
        self.open_signed_by(&key, quote, deposit)
    }

    pub(super) fn open_signed_by(
        &mut self,
        key: &PrivateKeySigner,
        quote: &Quote,
        deposit: u128,
    ) -> Result<B256, String> {
        let id = quote.digest(self.chain_id());
        let call = IRentals::openCall {
            quote: quote.clone(),
            signature: sign(key, id),
            signer: self.signer.address(),
        };
        self.world.send(quote.client, deposit, &call).map(|_| id)
    }

    /// The usual quote with money for all of it.
    pub(super) fn open(&mut self) -> B256 {
        let quote = self.quote();
        self.open_with(&quote, FLUX).unwrap()
    }

    /// A receipt of now with this many active seconds, half a GiB·s and a byte each, all done.
    pub(super) fn receipt(&self, rental: B256, seq: u64, active_s: u64) -> Receipt {
        Receipt {
            rental,
            seq,
            at: self.world.now_s,
            activeS: active_s,
            storageGibS: u128::from(active_s / 2),
            trafficB: active_s,
            doneS: active_s,
            workMacs: 0,
            manifestRoot: B256::ZERO,
            isFinal: false,
        }
    }

    pub(super) fn settle_call(&self, receipt: &Receipt) -> IRentals::settleCall {
        let digest = receipt.digest(self.chain_id());
        IRentals::settleCall {
            receipt: receipt.clone(),
            machineSignature: sign(&self.machine, digest),
            signerSignature: sign(&self.signer, digest),
        }
    }

    pub(super) fn settle(&mut self, receipt: &Receipt) -> Result<Vec<Log>, String> {
        let call = self.settle_call(receipt);
        self.world.send(self.stranger, 0, &call)
    }

    /// Lets time pass, then settles a receipt of all of it.
    pub(super) fn run(&mut self, rental: B256, seconds: u64) -> Receipt {
        let before = self.world.rental(rental).best;
        self.world.pass(seconds / 2, seconds);
        let receipt = self.receipt(rental, before.seq + 1, before.activeS + seconds);
        self.settle(&receipt).unwrap();
        receipt
    }

    pub(super) fn close(
        &mut self,
        by: Address,
        rental: B256,
        reason: Reason,
    ) -> Result<Vec<Log>, String> {
        self.world.send(by, 0, &IRentals::closeCall { rental, reason, keepS: 0 })
    }

    pub(super) fn call_window(&mut self) {
        let rules = &self.world.network.rental;
        self.world.pass(rules.call_blocks + 1, rules.call_s + 1);
    }

    pub(super) fn closing_window(&mut self) {
        let rules = &self.world.network.rental;
        self.world.pass(rules.closing_blocks, rules.closing_s);
    }

    pub(super) fn finalize(&mut self, rental: B256) -> IRentals::Rental {
        self.world.send(self.stranger, 0, &IRentals::finalizeCall { rental }).unwrap();
        let end = self.world.rental(rental);
        assert_eq!(end.phase, Phase::Closed);
        end
    }

    /// Closes, waits and finalizes.
    pub(super) fn end(&mut self, by: Address, rental: B256, reason: Reason) -> IRentals::Rental {
        self.close(by, rental, reason).unwrap();
        self.closing_window();
        self.finalize(rental)
    }
}

/// Asserts that a call is refused by a rule, in words that contain a part.
#[track_caller]
pub(super) fn refused<T: core::fmt::Debug>(result: Result<T, String>, rule: &str, part: &str) {
    match result {
        Ok(value) => panic!("expected a refusal by {rule}, got {value:?}"),
        Err(text) => {
            assert!(text.starts_with(&format!("{rule}: ")), "expected {rule}, got {text}");
            assert!(text.contains(part), "expected `{part}` in `{text}`");
        }
    }
}
