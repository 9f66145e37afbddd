use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::api::ApiError;
use crate::attempt::lock;

const FIRST_PAUSE: Duration = Duration::from_secs(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// Says that a server is unavailable: at once, then at growing intervals, and when it is back.
#[derive(Default)]
pub(crate) struct Outage(Mutex<Option<Since>>);

struct Since {
    began: Instant,
    next: Instant,
    pause: Duration,
}

impl Outage {
    /// Note an answer, or a failure after which the request is tried again; return what to say.
    pub(crate) fn note(&self, failure: Option<&ApiError>, now: Instant) -> Option<String> {
        let mut outage = lock(&self.0);
        let Some(error) = failure else {
            let seconds = (now - outage.take()?.began).as_secs();
            return Some(format!("is available again after {seconds} s"));
        };
        let since = outage.get_or_insert(Since { began: now, next: now, pause: FIRST_PAUSE });
        if now < since.next {
            return None;
        }
        since.next = now + since.pause;
        since.pause = (since.pause * 2).min(LONGEST_PAUSE);
        Some(format!("is unavailable, the worker tries again: {error}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_reported_at_growing_intervals_and_when_it_ends() {
        let (outage, began) = (Outage::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let error = ApiError::new("unreachable", "refused");
        let fail = |seconds| outage.note(Some(&error), at(seconds));
        let noted = [0, 1, 9, 10, 20, 29, 30].map(|each| fail(each).is_some());
        assert_eq!(noted, [true, false, false, true, false, false, true]);
        assert_eq!(outage.note(None, at(42)), Some("is available again after 42 s".into()));
        assert_eq!(outage.note(None, at(43)), None);
        let unavailable = "is unavailable, the worker tries again: refused";
        assert_eq!(fail(44), Some(unavailable.into()));
    }
}
