//! What the rules promise, each rule with the call that breaks it, and random plays over all.

mod branches;
mod closing;
mod encoding;
mod hosts;
mod opening;
mod play;
mod published;
mod transactions;
mod usage;
mod world;
