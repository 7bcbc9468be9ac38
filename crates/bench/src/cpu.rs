//! The general CPU probe.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::quota::Quota;

/// How long the probe works, milliseconds. Two and more of the usual 100 ms periods of a quota, so
/// that a cut quota shows, and short enough for a gate of 0.3 s.
pub const CPU_PROBE_MS: u64 = 220;

/// Words that memory accesses jump between: 256 KiB, which the private caches of any core hold.
/// What lies beyond is shared, and would measure the neighbours.
const WORDS: usize = 64 * 1_024;
const INTEGER_STEPS: u32 = 100_000;
const HASHED_BYTES: usize = 256 * 1_024;
const JUMPS: u32 = 20_000;
/// Most threads that one probe starts.
const MAX_THREADS: u32 = 1_024;

/// What one thread did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ThreadRun {
    /// Finished chunks; each is the same work on every machine.
    pub work: u64,
    /// Processor time of a chunk that nothing disturbed: a tenth of the chunks took at most this.
    pub chunk_ns: u64,
    /// By the clock on the wall.
    pub wall_ns: u64,
    /// Of it, on a processor.
    pub cpu_ns: u64,
    /// Of the rest, at most what a quota of the control group took.
    pub throttled_ns: u64,
}

/// What a probe measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// One entry a thread.
    pub threads: Vec<ThreadRun>,
    /// What quotas allow all threads together, thousandths of a processor, as the kernel says it; none
    /// where there is no quota.
    pub quota_millis: Option<u64>,
}

impl ThreadRun {
    /// Chunks a second of a processor to itself.
    #[must_use]
    pub fn speed_per_s(&self) -> u64 {
        1_000_000_000_u64.checked_div(self.chunk_ns).unwrap_or(0)
    }

    /// Chunks a second: the speed of the processor, times the share of it that a quota left.
    ///
    /// What other load, other machines on the same iron and interrupts took does not count: they
    /// come and go. What a quota took counts, because the client would miss it too.
    #[must_use]
    pub fn work_per_s(&self) -> u64 {
        let allowed_ns = self.cpu_ns.saturating_add(self.throttled_ns);
        let work = u128::from(self.cpu_ns).saturating_mul(1_000_000_000);
        let time = u128::from(self.chunk_ns).saturating_mul(allowed_ns.into());
        u64::try_from(work.checked_div(time).unwrap_or(0)).unwrap_or(u64::MAX)
    }
}

impl Measurement {
    /// Chunks of all threads together.
    #[must_use]
    pub fn work(&self) -> u64 {
        self.threads.iter().map(|thread| thread.work).fold(0, u64::saturating_add)
    }

    /// The longest thread by the clock on the wall.
    #[must_use]
    pub fn elapsed_ns(&self) -> u64 {
        self.threads.iter().map(|thread| thread.wall_ns).max().unwrap_or(0)
    }

    /// Chunks a second of all threads together, by [`ThreadRun::work_per_s`]; not more than the quota
    /// allows, which does not show in the times while other load leaves even less.
    #[must_use]
    pub fn work_per_s(&self) -> u64 {
        let sum =
            |of: fn(&ThreadRun) -> u64| self.threads.iter().map(of).fold(0, u64::saturating_add);
        let measured = sum(ThreadRun::work_per_s);
        let Some(quota_millis) = self.quota_millis else { return measured };
        let threads = u128::try_from(self.threads.len()).unwrap_or(u128::MAX);
        let allowed = u128::from(sum(ThreadRun::speed_per_s)).saturating_mul(quota_millis.into());
        let allowed = allowed.checked_div(threads.saturating_mul(1_000)).unwrap_or(0);
        measured.min(u64::try_from(allowed).unwrap_or(u64::MAX))
    }
}

/// Runs the probe on this many threads at once, for at most 0.3 s on an idle machine.
///
/// Each thread repeats a fixed chunk of integer arithmetic, hashing and dependent memory accesses
/// until [`CPU_PROBE_MS`] have passed. A thread that cannot be started counts as one that did
/// nothing.
#[must_use]
pub fn run_cpu_probe(threads: u32) -> Measurement {
    let threads = threads.clamp(1, MAX_THREADS);
    let quota = Quota::find();
    let runs = thread::scope(|scope| {
        let mut started = Vec::new();
        for index in 0..threads {
            let quota = &quota;
            let one = move || run_thread(u64::from(index), quota);
            started.push(thread::Builder::new().spawn_scoped(scope, one));
        }
        let finished = started.into_iter().map(|one| one.ok().and_then(|one| one.join().ok()));
        finished.map(Option::unwrap_or_default).collect()
    });
    Measurement { threads: runs, quota_millis: quota.cores_millis() }
}

fn run_thread(seed: u64, quota: &Quota) -> ThreadRun {
    let mut ring = Ring::new();
    // The first chunk warms caches and clocks up.
    let mut state = chunk(&mut ring, seed);
    let throttled_before = quota.throttled_ns();
    let start = Instant::now();
    let cpu_start = cpu_ns();
    let budget = Duration::from_millis(CPU_PROBE_MS);
    let mut chunks_ns = Vec::new();
    let mut cpu = cpu_start;
    while start.elapsed() < budget {
        state = black_box(chunk(&mut ring, state));
        let now = cpu_ns();
        chunks_ns.push(now.saturating_sub(cpu));
        cpu = now;
    }
    let wall_ns = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
    let cpu_ns = cpu.saturating_sub(cpu_start);
    let throttled = throttled_before.zip(quota.throttled_ns());
    // Where no file tells quota from load, all waiting is taken for quota: no false pass.
    let throttled = throttled.map_or(u64::MAX, |(before, after)| after.saturating_sub(before));
    ThreadRun {
        work: u64::try_from(chunks_ns.len()).unwrap_or(u64::MAX),
        chunk_ns: undisturbed(&mut chunks_ns),
        wall_ns,
        cpu_ns,
        throttled_ns: throttled.min(wall_ns.saturating_sub(cpu_ns)),
    }
}

/// Processor time of the calling thread.
fn cpu_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000).saturating_add(u64::try_from(time.tv_nsec).unwrap_or(0))
}

/// The time that a tenth of the chunks took at most. What disturbs the others (an interrupt, caches
/// lost to another thread, the other hyperthread of the core) is not the machine's speed.
fn undisturbed(chunks_ns: &mut [u64]) -> u64 {
    chunks_ns.sort_unstable();
    let tenth = chunks_ns.len().div_ceil(10).saturating_sub(1);
    chunks_ns.get(tenth).copied().unwrap_or(0)
}

/// Memory whose words say where the next access goes: one cycle through all of them.
struct Ring {
    next: Vec<u32>,
    bytes: Vec<u8>,
    at: u32,
}

impl Ring {
    fn new() -> Self {
        let words = u32::try_from(WORDS).unwrap_or(u32::MAX);
        let mask = words.saturating_sub(1);
        // A full-period linear congruence modulo a power of two visits every word once.
        let step = |index: u32| index.wrapping_mul(0x0001_9661).wrapping_add(0x3C6E_F35F) & mask;
        Self { next: (0..words).map(step).collect(), bytes: vec![0x5a; HASHED_BYTES], at: 0 }
    }

    fn jump(&mut self, count: u32) -> u32 {
        let mut at = self.at;
        for _ in 0..count {
            at = usize::try_from(at).ok().and_then(|i| self.next.get(i)).copied().unwrap_or(0);
        }
        self.at = at;
        at
    }
}

/// The fixed piece of work.
fn chunk(ring: &mut Ring, seed: u64) -> u64 {
    let mut x = seed | 1;
    for _ in 0..INTEGER_STEPS {
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        x = x.wrapping_mul(0x2545_F491_4F6C_DD1D);
    }
    if let Some(head) = ring.bytes.first_chunk_mut::<8>() {
        *head = x.to_le_bytes();
    }
    let hash = blake3::hash(&ring.bytes);
    let hashed = hash.as_bytes().first_chunk::<8>().map_or(0, |head| u64::from_le_bytes(*head));
    hashed ^ u64::from(ring.jump(JUMPS))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_is_the_same_work_everywhere() {
        let mut ring = Ring::new();
        let first = chunk(&mut ring, 1);
        assert_eq!(chunk(&mut Ring::new(), 1), first);
        assert_ne!(chunk(&mut ring, first), first);
        // The ring is one cycle: as many jumps as words come back, fewer don't.
        let mut ring = Ring::new();
        let words = u32::try_from(WORDS).unwrap();
        assert_ne!(ring.jump(words / 2), 0);
        assert_eq!(ring.jump(words / 2), 0);
    }

    #[test]
    fn waiting_for_others_does_not_count_but_a_quota_does() {
        let check = |cpu_ns, throttled_ns, expected| {
            let wall_ns = 1_000_000_000;
            let run = ThreadRun { work: 100, chunk_ns: 1_000_000, wall_ns, cpu_ns, throttled_ns };
            assert_eq!(run.work_per_s(), expected, "{run:?}");
        };
        check(1_000_000_000, 0, 1_000);
        check(400_000_000, 0, 1_000);
        check(500_000_000, 500_000_000, 500);
        check(600_000_000, 200_000_000, 750);
        check(0, 1_000_000_000, 0);
        assert_eq!(ThreadRun::default().work_per_s(), 0);
        // A quota of half a processor each, of which load left so little that it never held them back.
        let run = ThreadRun { chunk_ns: 1_000_000, cpu_ns: 4, ..ThreadRun::default() };
        let check = |quota_millis, expected| {
            let measured = Measurement { threads: vec![run; 2], quota_millis };
            assert_eq!(measured.work_per_s(), expected, "{quota_millis:?}");
        };
        check(None, 2_000);
        check(Some(1_000), 1_000);
        check(Some(5_000), 2_000);
        check(Some(0), 0);
        assert_eq!(Measurement { threads: vec![], quota_millis: Some(9) }.work_per_s(), 0);
    }

    #[test]
    fn the_undisturbed_chunk_is_the_slowest_of_the_fastest_tenth() {
        let check = |mut chunks: Vec<u64>, expected| {
            assert_eq!(undisturbed(&mut chunks), expected, "{chunks:?}");
        };
        check(vec![], 0);
        check(vec![7], 7);
        check((1..=10).rev().collect(), 1);
        check((1..=100).rev().collect(), 10);
        check([vec![900; 89], vec![5; 11]].concat(), 5);
    }

    #[test]
    fn the_probe_measures_each_thread_in_bounded_time() {
        let start = Instant::now();
        let measured = run_cpu_probe(2);
        assert_eq!(measured.threads.len(), 2);
        assert!(measured.work() > 0 && measured.work_per_s() > 0, "{measured:?}");
        assert!(measured.elapsed_ns() >= CPU_PROBE_MS * 1_000_000);
        assert!(start.elapsed() < Duration::from_secs(10), "took {:?}", start.elapsed());
    }
}
