//! How the API writes times.

use chrono::{DateTime, SecondsFormat, Utc};

/// Writes a time as RFC 3339 in UTC, always with six fractional digits: `2026-11-26T01:02:03.123456Z`.
pub fn rfc3339(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_always_has_six_fractional_digits() {
        let written = |micros| rfc3339(DateTime::from_timestamp_micros(micros).unwrap());
        assert_eq!(written(1_795_654_923_123_456), "2026-11-26T01:02:03.123456Z");
        assert_eq!(written(1_795_654_923_120_000), "2026-11-26T01:02:03.120000Z");
        assert_eq!(written(0), "1970-01-01T00:00:00.000000Z");
    }
}
