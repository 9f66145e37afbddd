use serde::Serialize;
use serde_json::{json, Value};

const MOST_RECORDS: usize = 1_000; // of an attempt
const MOST_BYTES: usize = 262_144; // of their messages
const MOST_CHARACTERS: usize = 4_096; // of a message; the rest is cut off
const BATCH: usize = 50;

/// How much a log record matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// For those who look for a fault.
    Debug,
    /// What has happened.
    Info,
    /// What may need attention.
    Warning,
    /// What has failed.
    Error,
    /// What needs attention at once.
    Critical,
}

/// The log records of an attempt that are not sent yet: numbered, bounded, sent in batches.
#[derive(Default)]
pub(crate) struct StepLog {
    records: Vec<Value>,
    latest_progress: Option<Value>,
    count: usize,
    bytes: usize,
    full: bool,
}

impl StepLog {
    /// Create the log of an attempt; it stays empty if the server takes no records.
    pub(crate) fn new(takes_logs: bool) -> Self {
        Self { full: !takes_logs, ..Self::default() }
    }

    pub(crate) fn add(&mut self, level: Level, message: &str, fields: Value) {
        self.append(record(level, message, "", fields));
    }

    /// Keep how far the attempt is, instead of what was not sent yet.
    pub(crate) fn progress(&mut self, fraction: f64, message: &str) {
        let fields = json!({"fraction": fraction});
        self.latest_progress = Some(record(Level::Info, message, "progress", fields));
    }

    /// Return the next records to send; `forget` those that were sent.
    pub(crate) fn next_batch(&mut self) -> Vec<Value> {
        if let Some(progress) = self.latest_progress.take() {
            self.append(progress);
        }
        self.records.iter().take(BATCH).cloned().collect()
    }

    pub(crate) fn forget(&mut self, count: usize) {
        self.records.drain(..count);
    }

    fn append(&mut self, mut new: Value) {
        if self.full {
            return;
        }
        self.bytes += new["message"].as_str().map_or(0, str::len);
        self.full = self.count >= MOST_RECORDS || self.bytes > MOST_BYTES;
        if self.full {
            let full = format!(
                "further records of this attempt are not kept: the limit is {MOST_RECORDS} records, or {MOST_BYTES} bytes"
            );
            new = record(Level::Warning, &full, "tasker", json!({}));
        }
        new["number"] = json!(self.count);
        self.records.push(new);
        self.count += 1;
    }
}

fn record(level: Level, message: &str, source: &str, fields: Value) -> Value {
    let message: String = message.chars().take(MOST_CHARACTERS).collect();
    let at = chrono::Utc::now().to_rfc3339();
    json!({"at": at, "level": level, "message": message, "source": source, "fields": fields})
}
