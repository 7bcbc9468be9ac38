//! The records of the useful lanes: keys, bytes, and changes on top of a state. Integers are
//! little-endian.

use std::collections::BTreeMap;

use alloy_primitives::{Address, B256, hex};
use pouw_consensus::reward::{Vesting, VestingEpoch};
use pouw_consensus::{CreditSums, DecodeError, Reader};
use pouw_ledger::{State, StateError, Writes};

/// Epochs that a ring remembers: those that may still vest, the running one, and one to spare.
const RING: u64 = 32;

fn key(table: &str, rest: &[u8]) -> Vec<u8> {
    [b"\xff", table.as_bytes(), rest].concat()
}

fn ring(table: &str, epoch: u64) -> Vec<u8> {
    let [place, ..] = (epoch % RING).to_le_bytes();
    key(table, &[place])
}

pub(super) fn credit(machine: Address) -> Vec<u8> {
    key("credit", machine.as_slice())
}

pub(super) fn credits() -> Vec<u8> {
    key("credits", &[])
}

pub(super) fn vesting(miner: Address) -> Vec<u8> {
    key("vesting", miner.as_slice())
}

pub(super) fn work(rental: B256) -> Vec<u8> {
    key("work", rental.as_slice())
}

pub(super) fn prices(epoch: u64) -> Vec<u8> {
    ring("prices", epoch)
}

pub(super) fn floor() -> Vec<u8> {
    key("floor", &[])
}

pub(super) fn rewards(epoch: u64) -> Vec<u8> {
    ring("rewards", epoch)
}

/// A value under one of these keys.
pub(super) trait Row: Sized {
    const WHAT: &'static str;
    fn bytes(&self) -> Vec<u8>;
    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError>;
}

/// A state with changes on top.
pub(super) struct Sheet<'a, S> {
    state: &'a S,
    writes: Writes,
}

impl<'a, S: State> Sheet<'a, S> {
    pub(super) const fn new(state: &'a S) -> Self {
        Self { state, writes: Writes::new() }
    }

    pub(super) fn get<R: Row>(&self, key: &[u8]) -> Result<Option<R>, StateError> {
        let bytes = match self.writes.get(key) {
            Some(written) => written.clone(),
            None => self.state.get(key)?,
        };
        let Some(bytes) = bytes else { return Ok(None) };
        let mut reader = Reader::new(&bytes);
        let row = R::read(&mut reader).and_then(|row| reader.finish().map(|()| row));
        let broken = |_| StateError::Corrupt { what: R::WHAT, key: hex::encode(key) };
        row.map(Some).map_err(broken)
    }

    pub(super) fn put(&mut self, key: Vec<u8>, row: &impl Row) {
        self.writes.insert(key, Some(row.bytes()));
    }

    pub(super) fn delete(&mut self, key: Vec<u8>) {
        self.writes.insert(key, None);
    }

    pub(super) fn into_writes(self) -> Writes {
        self.writes
    }
}

fn number(reader: &mut Reader<'_>, what: &'static str) -> Result<u128, DecodeError> {
    Ok(u128::from_le_bytes(reader.array(what)?))
}

/// The epoch u64, then eight sums u128.
impl Row for CreditSums {
    const WHAT: &'static str = "sums of credit";

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.epoch.to_le_bytes().to_vec();
        for sum in self.sums {
            out.extend_from_slice(&sum.to_le_bytes());
        }
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = reader.u64("epoch")?;
        let mut sums = [0; 8];
        for sum in &mut sums {
            *sum = number(reader, "sum")?;
        }
        Ok(Self { epoch, sums })
    }
}

/// How many epochs, then of each the number u64 and reward, work, covered, minted u128.
impl Row for Vesting {
    const WHAT: &'static str = "vesting rewards";

    fn bytes(&self) -> Vec<u8> {
        let epochs = self.epochs();
        let mut out = vec![u8::try_from(epochs.len()).unwrap_or(u8::MAX)];
        for VestingEpoch { epoch, reward, work, covered, minted } in epochs {
            out.extend_from_slice(&epoch.to_le_bytes());
            for number in [reward, work, covered, minted] {
                out.extend_from_slice(&number.to_le_bytes());
            }
        }
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let count = reader.u8("number of epochs")?;
        let epochs = (0..count).map(|_| {
            Ok(VestingEpoch {
                epoch: reader.u64("epoch")?,
                reward: number(reader, "reward")?,
                work: number(reader, "work")?,
                covered: number(reader, "covered work")?,
                minted: number(reader, "minted")?,
            })
        });
        Ok(Self::of(epochs.collect::<Result<_, _>>()?))
    }
}

/// How much of a rental's work has counted.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work(pub(super) u128);

impl Row for Work {
    const WHAT: &'static str = "counted work";

    fn bytes(&self) -> Vec<u8> {
        self.0.to_le_bytes().to_vec()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        number(reader, "work").map(Self)
    }
}

/// Fees burned in an epoch, by the step of the price that was paid for work: at most 512.
#[derive(Clone, Debug)]
pub(super) struct PriceSteps {
    pub(super) epoch: u64,
    pub(super) steps: BTreeMap<u16, u128>,
}

impl Row for PriceSteps {
    const WHAT: &'static str = "prices of work";

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.epoch.to_le_bytes().to_vec();
        let count = u16::try_from(self.steps.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_le_bytes());
        for (step, burned) in &self.steps {
            out.extend_from_slice(&step.to_le_bytes());
            out.extend_from_slice(&burned.to_le_bytes());
        }
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        let epoch = reader.u64("epoch")?;
        let count = reader.u16("number of steps")?;
        let steps = (0..count).map(|_| Ok((reader.u16("step")?, number(reader, "burned")?)));
        Ok(Self { epoch, steps: steps.collect::<Result<_, _>>()? })
    }
}

/// The floor price of an epoch.
#[derive(Clone, Copy, Debug)]
pub(super) struct Floor {
    pub(super) epoch: u64,
    pub(super) price: u128,
}

impl Row for Floor {
    const WHAT: &'static str = "floor price";

    fn bytes(&self) -> Vec<u8> {
        [self.epoch.to_le_bytes().as_slice(), &self.price.to_le_bytes()].concat()
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self { epoch: reader.u64("epoch")?, price: number(reader, "price")? })
    }
}

/// What became of the rewards of lane 1 that were won in one epoch, atto-FLUX.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EpochRewards {
    /// Which.
    pub epoch: u64,
    /// Minted with the blocks: a tenth.
    pub at_once: u128,
    /// Minted since, for work that somebody paid for.
    pub vested: u128,
    /// Not minted yet; after thirty epochs never.
    pub waiting: u128,
}

impl Row for EpochRewards {
    const WHAT: &'static str = "rewards of an epoch";

    fn bytes(&self) -> Vec<u8> {
        let mut out = self.epoch.to_le_bytes().to_vec();
        for number in [self.at_once, self.vested, self.waiting] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self, DecodeError> {
        Ok(Self {
            epoch: reader.u64("epoch")?,
            at_once: number(reader, "minted at once")?,
            vested: number(reader, "vested")?,
            waiting: number(reader, "waiting")?,
        })
    }
}
