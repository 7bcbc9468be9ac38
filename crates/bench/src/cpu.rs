//! The general CPU probe.

use std::hint::black_box;
use std::thread;
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

use crate::patience::{Quota, waited_ns};

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
    /// The processor time of a chunk, nanoseconds: nine of ten took at least as long.
    pub chunk_ns: u64,
    /// By the clock on the wall.
    pub wall_ns: u64,
    /// Of it, runnable without running: other load, or a quota.
    pub waited_ns: u64,
    /// Of that, at most what a quota of the control group took.
    pub throttled_ns: u64,
}

/// What a probe measured.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measurement {
    /// One entry a thread.
    pub threads: Vec<ThreadRun>,
}

impl ThreadRun {
    /// Chunks a second: the speed of the processor, times the part of it that the thread may use.
    ///
    /// The speed is that of the fast chunks, by processor time, so that neither other load nor a
    /// moment's trouble in caches and siblings counts. What a quota took does, because the client
    /// would miss it too.
    #[must_use]
    pub fn work_per_s(&self) -> u64 {
        let ran_ns = u128::from(self.wall_ns.saturating_sub(self.waited_ns));
        let allowed_ns = ran_ns.saturating_add(u128::from(self.throttled_ns));
        let scaled = ran_ns.saturating_mul(1_000_000_000);
        let divisor = allowed_ns.saturating_mul(u128::from(self.chunk_ns));
        u64::try_from(scaled.checked_div(divisor).unwrap_or(0)).unwrap_or(u64::MAX)
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

    /// Chunks a second of all threads together.
    #[must_use]
    pub fn work_per_s(&self) -> u64 {
        self.threads.iter().map(ThreadRun::work_per_s).fold(0, u64::saturating_add)
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
    Measurement { threads: runs }
}

fn run_thread(seed: u64, quota: &Quota) -> ThreadRun {
    let mut ring = Ring::new();
    // The first chunk warms caches and clocks up.
    let mut state = chunk(&mut ring, seed);
    let throttled_before = quota.throttled_ns();
    let waited_before = waited_ns();
    let start = Instant::now();
    let budget = Duration::from_millis(CPU_PROBE_MS);
    let mut chunks_ns = Vec::new();
    let mut before_ns = processor_ns();
    while start.elapsed() < budget {
        state = black_box(chunk(&mut ring, state));
        let after_ns = processor_ns();
        chunks_ns.push(after_ns.saturating_sub(before_ns));
        before_ns = after_ns;
    }
    let wall = start.elapsed();
    let waited = difference(waited_before, waited_ns());
    let throttled = difference(throttled_before, quota.throttled_ns());
    ThreadRun {
        work: u64::try_from(chunks_ns.len()).unwrap_or(u64::MAX),
        chunk_ns: fast_decile(chunks_ns),
        wall_ns: u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX),
        waited_ns: waited.unwrap_or(0),
        // Where no file tells quota from load, all waiting is taken for quota: no false pass.
        throttled_ns: throttled.map_or(u64::MAX, |ns| ns).min(waited.unwrap_or(0)),
    }
}

/// The time that the calling thread ran, nanoseconds.
fn processor_ns() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    let of = |part: i64| u64::try_from(part).unwrap_or(0);
    of(time.tv_sec).saturating_mul(1_000_000_000).saturating_add(of(time.tv_nsec))
}

/// The value below which a tenth lies; 0 of none.
fn fast_decile(mut values: Vec<u64>) -> u64 {
    let at = values.len() / 10;
    if at < values.len() { *values.select_nth_unstable(at).1 } else { 0 }
}

fn difference(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    Some(after?.saturating_sub(before?))
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
        let check = |waited_ns, throttled_ns, expected| {
            let run =
                ThreadRun { work: 5, chunk_ns: 1_000_000, wall_ns: 1_000, waited_ns, throttled_ns };
            assert_eq!(run.work_per_s(), expected);
        };
        check(0, 0, 1_000);
        check(400, 0, 1_000);
        check(400, 400, 600);
        check(400, 200, 750);
        check(2_000, 0, 0);
        assert_eq!(ThreadRun::default().work_per_s(), 0);
    }

    #[test]
    fn a_chunk_that_was_disturbed_does_not_count() {
        assert_eq!(fast_decile(vec![]), 0);
        assert_eq!(fast_decile(vec![7]), 7);
        let disturbed = (0..50).map(|index| if index % 3 == 0 { 100 } else { 100 + index });
        assert_eq!(fast_decile(disturbed.collect()), 100);
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
