//! Chains in memory: import, reorgs, mempool, reads.

mod ahead;
mod credits;
mod fixture;
mod hostile;
mod imports;
mod lanes;
mod market;
mod mixed;
mod pool;
mod reorgs;
mod states;
mod vesting;
