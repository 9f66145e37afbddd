use std::sync::Mutex;
use std::time::{Duration, Instant};

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
    /// Note a request that failed at a time and is tried again; return whether to say so.
    pub(crate) fn note(&self, now: Instant) -> bool {
        let mut outage = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let since = outage.get_or_insert(Since {
            began: now,
            next: now,
            pause: FIRST_PAUSE,
        });
        if now < since.next {
            return false;
        }
        since.next = now + since.pause;
        since.pause = (since.pause * 2).min(LONGEST_PAUSE);
        true
    }

    /// Note an answer; return how long the server was unavailable, if it was.
    pub(crate) fn end(&self, now: Instant) -> Option<Duration> {
        let mut outage = self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        outage.take().map(|since| now - since.began)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_reported_at_growing_intervals_and_when_it_ends() {
        let (outage, began) = (Outage::default(), Instant::now());
        let at = |seconds| began + Duration::from_secs(seconds);
        let noted: Vec<bool> = [0, 1, 9, 10, 20, 29, 30].map(|each| outage.note(at(each))).into();
        assert_eq!(noted, [true, false, false, true, false, false, true]);
        assert_eq!(outage.end(at(42)), Some(Duration::from_secs(42)));
        assert_eq!(outage.end(at(43)), None);
        assert!(outage.note(at(44)));
    }
}
