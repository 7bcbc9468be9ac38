//! Many miners who hear of blocks late.
//!
//! When a miner hears of a block follows from the block's and the miner's number alone, so no
//! arrival is stored and none is an event: only finding a block is. What a miner works on is looked
//! up when it finds something. Rates are drawn at the easiest difficulty that anybody may be
//! working at, and a find is kept with the probability that its own difficulty has over that
//! (thinning), which is exact for memoryless lanes.

use pouw_consensus::{Candidate, Lane, Shares, replaces};

use crate::chain::{Chain, Rates};
use crate::dice::{Dice, mix, unit};

/// A miner hears of nothing later than this many mean delays.
const LONGEST: f64 = 6.0;

/// Who mines, and how slow word travels.
#[derive(Clone, Debug)]
pub(crate) struct Network {
    /// Lane and size of each miner: sizes of a lane add up to one.
    miners: Vec<(Lane, f64)>,
    /// For each lane, its miners and the running sum of their sizes.
    lanes: [Vec<(usize, f64)>; 3],
    /// Mean time until a miner hears of a block, seconds.
    delay: f64,
}

impl Network {
    /// `count` miners, of sizes like 1/rank in their lanes: 40 % of them in lane 0, 40 % in lane 1.
    #[must_use]
    pub(crate) fn new(count: usize, delay: f64) -> Self {
        let mut network = Self { miners: Vec::new(), lanes: Default::default(), delay };
        for miner in 0..count {
            let lane = match miner % 5 {
                0 | 1 => Lane::Hash,
                2 | 3 => Lane::Matmul,
                _ => Lane::Credit,
            };
            let members = &mut network.lanes[lane.index()];
            let size = 1.0 / (members.len() + 1) as f64;
            let sum = members.last().map_or(0.0, |last| last.1) + size;
            members.push((miner, sum));
            network.miners.push((lane, size));
        }
        network
    }

    /// The miner of a lane who finds the next block.
    fn finder(&self, lane: Lane, dice: &mut Dice) -> usize {
        let members = &self.lanes[lane.index()];
        let at = dice.unit() * members.last().map_or(0.0, |last| last.1);
        let place = members.partition_point(|member| member.1 < at).min(members.len() - 1);
        members[place].0
    }

    /// When a miner hears of a block that another found.
    fn heard(&self, block: u64, found: f64, finder: usize, miner: usize) -> f64 {
        if finder == miner || self.delay <= 0.0 {
            return found;
        }
        let word = mix(block.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ mix(miner as u64 + 1));
        found + (-unit(word).ln()).min(LONGEST) * self.delay
    }
}

struct Node {
    number: u64,
    found: f64,
    finder: usize,
    lane: Lane,
    /// Blocks from the settled one to this one, in `Tree::nodes`.
    path: Vec<u64>,
    chain: Chain,
}

/// The tree above the last block that everybody knows.
pub(crate) struct World {
    network: Network,
    nodes: Vec<Node>,
    next: u64,
    now: f64,
    dice: Dice,
}

/// A block that everybody has come to agree on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settled {
    /// Its lane.
    pub(crate) lane: Lane,
    /// Seconds since the start, by its timestamp.
    pub(crate) time: f64,
    /// Its height.
    pub(crate) height: u64,
}

impl World {
    /// Everybody knows this chain.
    #[must_use]
    pub(crate) fn new(network: Network, chain: Chain, dice: Dice) -> Self {
        let root =
            Node { number: 0, found: 0.0, finder: 0, lane: Lane::Hash, path: Vec::new(), chain };
        Self { network, nodes: vec![root], next: 1, now: 0.0, dice }
    }

    /// Seconds since the start.
    #[must_use]
    pub(crate) const fn now(&self) -> f64 {
        self.now
    }

    /// The chain up to the last settled block.
    #[must_use]
    pub(crate) fn settled(&self) -> &Chain {
        &self.nodes[0].chain
    }

    /// Which block a miner works on at a time: the heaviest it has heard of; of equals the first
    /// that it heard of, unless a later one descends from it.
    fn head(&self, miner: usize, now: f64) -> usize {
        let mut head = 0;
        let mut heard_head = f64::NEG_INFINITY;
        for (at, node) in self.nodes.iter().enumerate().skip(1) {
            // A block counts once its ancestors are known too.
            let heard = self
                .nodes
                .iter()
                .filter(|other| node.path.contains(&other.number))
                .map(|other| self.network.heard(other.number, other.found, other.finder, miner))
                .fold(f64::NEG_INFINITY, f64::max);
            if heard > now {
                continue;
            }
            let extends_head = node.path.contains(&self.nodes[head].number) || head == 0;
            let weight = self.nodes[head].chain.standing.total_weight;
            let total_weight = node.chain.standing.total_weight;
            let earlier = total_weight == weight && heard < heard_head;
            if replaces(weight, Candidate { total_weight, extends_head }) || earlier {
                (head, heard_head) = (at, heard);
            }
        }
        head
    }

    /// Until the next block is found. `shares_after` gives the shares of the block that follows one
    /// of a height. Gives back how many blocks became stale, and those that settled.
    pub(crate) fn step(
        &mut self,
        rates: Rates,
        shares_after: &mut dyn FnMut(u64, Shares) -> Shares,
    ) -> (u64, Vec<Settled>) {
        loop {
            let easiest = Lane::ALL.map(|lane| {
                let open = self.nodes.iter().map(|node| node.chain.difficulty(lane));
                open.filter(|difficulty| *difficulty > 0.0).fold(f64::INFINITY, f64::min)
            });
            let pace = [0, 1, 2].map(|lane| rates[lane] / easiest[lane]);
            let total: f64 = pace.iter().sum();
            self.now += self.dice.exponential(1.0 / total);
            let mut pick = self.dice.unit() * total;
            let lane = Lane::ALL.into_iter().find(|lane| {
                pick -= pace[lane.index()];
                pick <= 0.0
            });
            let lane = lane.unwrap_or(Lane::Hash);
            let (stale, settled) = self.settle();
            if self.find(lane, easiest[lane.index()], shares_after) || !settled.is_empty() {
                return (stale, settled);
            }
        }
    }

    fn find(
        &mut self,
        lane: Lane,
        easiest: f64,
        shares_after: &mut dyn FnMut(u64, Shares) -> Shares,
    ) -> bool {
        let finder = self.network.finder(lane, &mut self.dice);
        let head = &self.nodes[self.head(finder, self.now)];
        let chain = &head.chain;
        let share = chain.standing.shares.by_lane()[lane.index()];
        if share == 0 || !self.dice.happens(easiest / chain.difficulty(lane)) {
            return false;
        }
        // A slot of lane 2 is a whole second after the parent's.
        let time = if lane == Lane::Credit { self.now.ceil() } else { self.now };
        if lane == Lane::Credit && time < chain.time().floor() + 1.0 {
            return false;
        }
        let mut chain = chain.clone();
        let next = shares_after(chain.height() + 1, chain.standing.shares);
        chain.push_moving(lane, time, next);
        let mut path = head.path.clone();
        path.push(self.next);
        let found = self.now;
        self.nodes.push(Node { number: self.next, found, finder, lane, path, chain });
        self.next += 1;
        true
    }

    /// Moves the root up to the heaviest block that everybody has heard of.
    fn settle(&mut self) -> (u64, Vec<Settled>) {
        let horizon = self.now - self.network.delay * LONGEST;
        let known = |node: &&Node| node.found <= horizon;
        let Some(best) = self.nodes.iter().skip(1).filter(known).reduce(|best, node| {
            let heavier = node.chain.standing.total_weight > best.chain.standing.total_weight
                || (node.chain.standing.total_weight == best.chain.standing.total_weight
                    && node.path.len() > best.path.len());
            if heavier { node } else { best }
        }) else {
            return (0, Vec::new());
        };
        // A heavier branch that not everybody knows yet may still replace it.
        let (number, path) = (best.number, best.path.clone());
        let rivals = |node: &Node| {
            !node.path.contains(&number)
                && node.chain.standing.total_weight >= best.chain.standing.total_weight
                && !path.contains(&node.number)
        };
        if self.nodes.iter().skip(1).any(rivals) {
            return (0, Vec::new());
        }
        let settled = self
            .nodes
            .iter()
            .filter(|node| path.contains(&node.number))
            .map(|node| Settled {
                lane: node.lane,
                time: node.chain.time(),
                height: node.chain.height(),
            })
            .collect();
        let before = self.nodes.len();
        let depth = path.len();
        self.nodes.retain_mut(|node| {
            if node.number == number {
                node.path.clear();
                return true;
            }
            let descends = node.path.contains(&number);
            node.path.drain(..depth.min(node.path.len()));
            descends
        });
        let stale = before - 1 - self.nodes.len() + 1 - depth;
        (stale as u64, settled)
    }
}

impl core::fmt::Debug for World {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("World").field("now", &self.now).field("next", &self.next).finish()
    }
}
