//! `If-Match` and its kin. Pure.

use s3s::dto::{ETagCondition, Timestamp};
use s3s::{S3Result, s3_error};

use crate::store::clock::timestamp;
use crate::store::record::ObjectRecord;

/// The four conditions of a read.
#[derive(Debug, Default)]
pub(super) struct Conditions {
    pub(super) matches: Option<ETagCondition>,
    pub(super) none_match: Option<ETagCondition>,
    pub(super) modified_since: Option<Timestamp>,
    pub(super) unmodified_since: Option<Timestamp>,
}

fn names(condition: &ETagCondition, etag: &str) -> bool {
    condition.is_any() || condition.as_etag().is_some_and(|wanted| wanted.value() == etag)
}

impl Conditions {
    /// Decides a read as RFC 9110 §13.2.2 orders the four.
    pub(super) fn check(&self, record: &ObjectRecord) -> S3Result<()> {
        let modified = seconds(&timestamp(record.modified_ms));
        let later = |than: &Timestamp| modified > seconds(than);
        match (&self.matches, &self.unmodified_since) {
            (Some(wanted), _) if !names(wanted, &record.etag) => {
                return Err(s3_error!(PreconditionFailed));
            }
            (None, Some(since)) if later(since) => return Err(s3_error!(PreconditionFailed)),
            _ => {}
        }
        match (&self.none_match, &self.modified_since) {
            (Some(known), _) if names(known, &record.etag) => Err(s3_error!(NotModified)),
            (None, Some(since)) if !later(since) => Err(s3_error!(NotModified)),
            _ => Ok(()),
        }
    }

    /// As [`check`](Self::check), for the source of a copy, where nothing is "not modified".
    pub(super) fn check_source(&self, record: &ObjectRecord) -> S3Result<()> {
        self.check(record).map_err(|_| s3_error!(PreconditionFailed))
    }
}

/// Whole seconds, which is all that HTTP dates can say.
fn seconds(stamp: &Timestamp) -> i64 {
    time::OffsetDateTime::from(stamp.clone()).unix_timestamp()
}

/// Whether a write may replace `old`.
pub(super) fn may_write(
    matches: Option<&ETagCondition>,
    none_match: Option<&ETagCondition>,
    old: Option<&ObjectRecord>,
) -> bool {
    let matched = matches.is_none_or(|m| old.is_some_and(|old| names(m, &old.etag)));
    let absent = none_match.is_none_or(|m| old.is_none_or(|old| !names(m, &old.etag)));
    matched && absent
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::record::{Checksums, Facts};
    use s3s::S3ErrorCode;
    use std::time::{Duration, SystemTime};

    fn record() -> ObjectRecord {
        ObjectRecord {
            size: 1,
            etag: "abc".into(),
            modified_ms: 1_000_500,
            pieces: vec![],
            blake3: None,
            checksums: Checksums::default(),
            facts: Facts::default(),
        }
    }

    #[test]
    fn reads_are_decided_in_the_order_of_the_standard() {
        let tag = |text: &str| Some(ETagCondition::parse_http_header(text.as_bytes()).unwrap());
        let at = |s: u64| Some(Timestamp::from(SystemTime::UNIX_EPOCH + Duration::from_secs(s)));
        let check = |conditions: Conditions, expected: Option<S3ErrorCode>| {
            let got = conditions.check(&record()).err().map(|e| e.code().clone());
            assert_eq!(got, expected, "{conditions:?}");
        };
        let none = Conditions::default;
        let failed = Some(S3ErrorCode::PreconditionFailed);
        let unchanged = Some(S3ErrorCode::NotModified);
        check(none(), None);
        check(Conditions { matches: tag("\"abc\""), ..none() }, None);
        check(Conditions { matches: tag("*"), ..none() }, None);
        check(Conditions { matches: tag("\"x\""), ..none() }, failed.clone());
        check(Conditions { none_match: tag("\"abc\""), ..none() }, unchanged.clone());
        check(Conditions { none_match: tag("*"), ..none() }, unchanged.clone());
        check(Conditions { none_match: tag("\"x\""), ..none() }, None);
        check(Conditions { modified_since: at(999), ..none() }, None);
        check(Conditions { modified_since: at(1000), ..none() }, unchanged);
        check(Conditions { unmodified_since: at(1000), ..none() }, None);
        check(Conditions { unmodified_since: at(999), ..none() }, failed);
        check(Conditions { matches: tag("*"), unmodified_since: at(999), ..none() }, None);
        check(Conditions { none_match: tag("\"x\""), modified_since: at(1000), ..none() }, None);
    }

    #[test]
    fn writes_can_demand_absence_or_a_version() {
        let tag = |text: &str| ETagCondition::parse_http_header(text.as_bytes()).unwrap();
        let old = record();
        assert!(may_write(None, None, Some(&old)));
        assert!(!may_write(None, Some(&tag("*")), Some(&old)));
        assert!(may_write(None, Some(&tag("*")), None));
        assert!(may_write(Some(&tag("\"abc\"")), None, Some(&old)));
        assert!(!may_write(Some(&tag("\"x\"")), None, Some(&old)));
        assert!(!may_write(Some(&tag("\"abc\"")), None, None));
    }
}
