//! Chains in memory: import, reorgs, mempool, reads.

mod fixture;
mod imports;
mod lanes;
mod pool;
mod reorgs;
mod states;
