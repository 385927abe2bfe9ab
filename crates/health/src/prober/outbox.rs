//! What is to be reported, gathered until it is sent.

use std::collections::HashSet;
use std::time::Duration;

use crate::batch::{Batch, Change, Report};
use crate::check_id::CheckId;
use crate::clock::Moment;

use super::Sink;

/// How long changes of verdicts are gathered.
const SOON: Duration = Duration::from_millis(10);

/// How long other results are.
const LATER: Duration = Duration::from_secs(1);

/// After which time a receiver that took nothing is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// How many changes are kept for it.
const KEPT: usize = 20_000;

pub(crate) struct Outbox {
    sink: Sink,
    due: Option<Moment>,
    /// Checks with something new.
    news: HashSet<CheckId>,
    changes: Vec<Change>,
    left_out: u64,
    removed: HashSet<CheckId>,
}

impl Outbox {
    pub(crate) fn new(sink: Sink) -> Self {
        Self {
            sink,
            due: None,
            news: HashSet::new(),
            changes: Vec::new(),
            left_out: 0,
            removed: HashSet::new(),
        }
    }

    /// Notes that a check has a new result.
    pub(crate) fn note_result(&mut self, id: CheckId, now: Moment) {
        self.news.insert(id);
        self.be_due(now + LATER);
    }

    /// Notes a check that is new.
    pub(crate) fn note_new(&mut self, id: CheckId, now: Moment) {
        self.removed.remove(&id);
        self.news.insert(id);
        self.be_due(now + SOON);
    }

    /// Notes one that is made no more.
    pub(crate) fn note_removed(&mut self, id: CheckId, now: Moment) {
        self.news.remove(&id);
        self.removed.insert(id);
        self.be_due(now + SOON);
    }

    pub(crate) fn note_change(&mut self, change: Change, now: Moment) {
        self.news.insert(change.id);
        if self.changes.len() < KEPT {
            self.changes.push(change);
        } else {
            self.left_out += 1;
        }
        self.be_due(now + SOON);
    }

    fn be_due(&mut self, moment: Moment) {
        self.due = Some(self.due.map_or(moment, |it| it.min(moment)));
    }

    /// When [`flush`](Self::flush) is to be called.
    pub(crate) fn due(&self) -> Option<Moment> {
        self.due
    }

    /// Sends what is due. What is not taken is kept, for a later batch with whatever is new by then.
    pub(crate) fn flush(&mut self, now: Moment, report: impl Fn(CheckId) -> Option<Report>) {
        if self.due.is_none_or(|it| it > now) {
            return;
        }
        let batch = Batch {
            reports: self.news.iter().filter_map(|it| report(*it)).collect(),
            changes: std::mem::take(&mut self.changes),
            left_out: self.left_out,
            removed: self.removed.iter().copied().collect(),
        };
        match (self.sink)(batch) {
            Ok(()) => {
                self.news.clear();
                self.removed.clear();
                self.left_out = 0;
                self.due = None;
            }
            Err(batch) => {
                self.changes = batch.changes;
                self.due = Some(now + AGAIN);
            }
        }
    }
}
