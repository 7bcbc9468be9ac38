//! The time that the store stamps on things.

use std::time::{Duration, SystemTime};

use s3s::dto::Timestamp;

/// Now, in Unix milliseconds; a clock before 1970 reads as 0.
pub(super) fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

/// A stamp as S3 shows it.
pub(super) fn timestamp(at_ms: u64) -> Timestamp {
    // Whole seconds, as HTTP dates have them, so that every answer says the same time.
    Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(at_ms / 1000))
}
