//! What a rental is charged for: pure accumulators over the host's monotonic clock.

use serde::{Deserialize, Serialize};

/// What was measured up to some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Milliseconds in which the task ran, pauses excluded.
    pub active_ms: u64,
    /// Milliseconds in which its scratch disk existed, from the container's start on.
    pub storage_ms: u64,
    /// Bytes moved: by the agent for the task, through its tunnels, and by the task itself.
    pub traffic_bytes: u64,
    /// Multiplications that mined, as far as they count (W-9).
    #[serde(default)]
    pub work_macs: u128,
    /// What the counters of the task's bridge said when they were last read; already in
    /// [`Self::traffic_bytes`].
    #[serde(default)]
    pub bridge_bytes: u64,
}

impl Totals {
    /// Whole active seconds, rounded down.
    #[must_use]
    pub const fn active_s(&self) -> u64 {
        self.active_ms / 1_000
    }

    /// GiB·s of a scratch disk of `gib`, rounded down.
    #[must_use]
    pub fn storage_gib_s(&self, gib: u64) -> u128 {
        u128::from(self.storage_ms) * u128::from(gib) / 1_000
    }
}

/// Accumulates while switched on.
///
/// Every reading takes the time of a monotonic clock; a reading that goes back counts nothing. The
/// meter of a restarted agent starts switched off from its journalled totals: time in which no
/// agent watched is nobody's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Meter {
    totals: Totals,
    active_since_ms: Option<u64>,
    stored_since_ms: Option<u64>,
}

impl Meter {
    /// Goes on from what is already counted, switched off.
    #[must_use]
    pub const fn from_totals(totals: Totals) -> Self {
        Self { totals, active_since_ms: None, stored_since_ms: None }
    }

    /// What is counted up to now.
    #[must_use]
    pub fn read(&self, now_ms: u64) -> Totals {
        let passed = |since: Option<u64>| since.map_or(0, |since| now_ms.saturating_sub(since));
        Totals {
            active_ms: self.totals.active_ms.saturating_add(passed(self.active_since_ms)),
            storage_ms: self.totals.storage_ms.saturating_add(passed(self.stored_since_ms)),
            traffic_bytes: self.totals.traffic_bytes,
            work_macs: self.totals.work_macs,
            bridge_bytes: self.totals.bridge_bytes,
        }
    }

    /// Counts active time from now on.
    pub fn resume(&mut self, now_ms: u64) {
        self.totals = self.read(now_ms);
        self.active_since_ms = Some(now_ms);
        self.stored_since_ms = Some(now_ms);
    }

    /// Stops counting active time; storage goes on.
    pub fn pause(&mut self, now_ms: u64) {
        self.totals = self.read(now_ms);
        self.active_since_ms = None;
        self.stored_since_ms = self.stored_since_ms.map(|_| now_ms);
    }

    /// Counts storage from now on, active time not.
    pub fn keep(&mut self, now_ms: u64) {
        self.pause(now_ms);
        self.stored_since_ms = Some(now_ms);
    }

    /// Stops counting anything.
    pub fn stop(&mut self, now_ms: u64) {
        self.totals = self.read(now_ms);
        self.active_since_ms = None;
        self.stored_since_ms = None;
    }

    /// Whether active time is counted.
    #[must_use]
    pub const fn is_active(&self) -> bool {
        self.active_since_ms.is_some()
    }

    /// Whether storage is counted.
    #[must_use]
    pub const fn is_stored(&self) -> bool {
        self.stored_since_ms.is_some()
    }

    /// Adds bytes moved.
    pub fn moved(&mut self, bytes: u64) {
        self.totals.traffic_bytes = self.totals.traffic_bytes.saturating_add(bytes);
    }

    /// Adds multiplications that mined.
    pub fn mined(&mut self, macs: u128) {
        self.totals.work_macs = self.totals.work_macs.saturating_add(macs);
    }

    /// Takes a reading of the bridge's counters: what they grew by was moved. Counters that fell
    /// were made anew, and what they say has passed since.
    pub fn counted(&mut self, bridge_bytes: u64) {
        let grown = bridge_bytes.checked_sub(self.totals.bridge_bytes).unwrap_or(bridge_bytes);
        self.totals.bridge_bytes = bridge_bytes;
        self.moved(grown);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Copy, Debug)]
    enum Turn {
        Resume,
        Pause,
        Keep,
        Stop,
        Restart,
        Move(u64),
        Count(u64),
    }

    fn turns() -> impl Strategy<Value = Vec<(u64, Turn)>> {
        let turn = prop_oneof![
            Just(Turn::Resume),
            Just(Turn::Pause),
            Just(Turn::Keep),
            Just(Turn::Stop),
            Just(Turn::Restart),
            (0u64..1_000).prop_map(Turn::Move),
            (0u64..1_000).prop_map(Turn::Count),
        ];
        proptest::collection::vec((0u64..100_000, turn), 0..60)
    }

    proptest! {
        /// nothing falls, active and stored time never exceed what passed.
        #[test]
        fn meters_never_fall_and_never_outrun_the_clock(turns in turns()) {
            let (mut meter, mut now, mut last, mut on) = (Meter::default(), 0u64, Totals::default(), 0u64);
            for (passed, turn) in turns {
                if meter.is_active() {
                    on += passed;
                }
                now += passed;
                match turn {
                    Turn::Resume => meter.resume(now),
                    Turn::Pause => meter.pause(now),
                    Turn::Keep => meter.keep(now),
                    Turn::Stop => meter.stop(now),
                    Turn::Restart => meter = Meter::from_totals(meter.read(now)),
                    Turn::Move(bytes) => meter.moved(bytes),
                    Turn::Count(bytes) => meter.counted(bytes),
                }
                let read = meter.read(now);
                prop_assert!(read.active_ms >= last.active_ms);
                prop_assert!(read.storage_ms >= last.storage_ms);
                prop_assert!(read.traffic_bytes >= last.traffic_bytes);
                prop_assert!(read.active_ms <= read.storage_ms);
                prop_assert!(read.storage_ms <= now);
                prop_assert_eq!(read.active_ms, on, "pauses are excluded");
                last = read;
            }
        }

        /// whatever a counter reads, and however often the agent or the counter starts anew,
        /// each byte is counted at most once.
        #[test]
        fn a_bridges_bytes_are_counted_once_over_restarts_of_agent_and_counter(
            turns in proptest::collection::vec((0u64..1_000, 0u8..4), 0..60),
        ) {
            let (mut meter, mut counter, mut passed, mut lost) = (Meter::default(), 0u64, 0u64, 0u64);
            for (bytes, turn) in turns {
                counter += bytes;
                passed += bytes;
                match turn {
                    0 => meter = Meter::from_totals(meter.read(0)),
                    // Another program flushes the counters: what was not read is nobody's.
                    1 => {
                        lost += counter;
                        counter = 0;
                    }
                    _ => meter.counted(counter),
                }
                prop_assert!(meter.read(0).traffic_bytes <= passed);
            }
            meter.counted(counter);
            let read = meter.read(0).traffic_bytes;
            prop_assert!(read <= passed && read + lost >= passed);
        }

        #[test]
        fn a_clock_that_goes_back_counts_nothing(start in 1_000u64..2_000, back in 0u64..1_000) {
            let mut meter = Meter::default();
            meter.resume(start);
            prop_assert_eq!(meter.read(back), Totals::default());
        }
    }
}
