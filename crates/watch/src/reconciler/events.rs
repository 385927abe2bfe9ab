//! The events for subscribers: what a pass did, and what it changed in the status.

use std::collections::BTreeSet;

use evenkeel_control::{
    Conflict, DrainStatus, Event, EventKind, FailingObject, ParameterStatus, PassStatus, Pause,
    State, Status,
};
use evenkeel_engine::Kernel;

use super::Reconciler;

/// The maximum number of events of one pass: with a table of thousands of services they would fill
/// the queue of every subscriber at once.
const MAX_EVENTS: usize = 200;

/// What subscribers learn of a pass besides the changes of the status.
#[derive(Debug, Default)]
pub(super) struct PassEvents {
    /// The result, if the pass is reported.
    pub(super) pass: Option<PassStatus>,
    /// The applied steps.
    pub(super) steps: Vec<EventKind>,
}

impl<K: Kernel> Reconciler<K> {
    /// Publishes the events of a pass that led from one status to the next.
    pub(super) fn publish_events(&self, of_pass: PassEvents, before: &Status, after: &Status) {
        let publisher = &self.outputs.events;
        if !publisher.has_subscribers() {
            return;
        }
        let at = self.schedule.clock.wall();
        let kinds = limited(events(of_pass, before, after), MAX_EVENTS);
        publisher.publish(kinds.into_iter().map(|kind| Event { at, kind }));
    }
}

/// Lists the events of a pass: first those of the whole, then those of single objects.
fn events(of_pass: PassEvents, before: &Status, after: &Status) -> Vec<EventKind> {
    let PassEvents { pass, steps } = of_pass;
    let mut events: Vec<EventKind> =
        pass.map(|pass| EventKind::Pass { pass }).into_iter().collect();
    events.extend(state(before, after));
    events.extend(parameters(&before.spec.parameters, &after.spec.parameters));
    events.extend(spec(before, after));
    events.extend(hold(before, after));
    events.extend(pause(before.paused, after.paused));
    events.extend(steps);
    events.extend(failures(&before.failing, &after.failing));
    events.extend(drains(&before.drains, &after.drains));
    events.extend(conflicts(&before.conflicts, &after.conflicts));
    let warnings = missing_from(&before.warnings, &after.warnings, |it| it);
    events.extend(warnings.map(|it| EventKind::Warning { warning: it.clone() }));
    events
}

/// Replaces what exceeds the maximum by its number.
fn limited(mut events: Vec<EventKind>, maximum: usize) -> Vec<EventKind> {
    let omitted = events.len().saturating_sub(maximum);
    if omitted > 0 {
        events.truncate(maximum);
        events.push(EventKind::Omitted { events: omitted });
    }
    events
}

fn state(before: &Status, after: &Status) -> Option<EventKind> {
    let (from, to, summary) = (before.state, after.state, after.summary());
    // The summary of a pause counts its seconds.
    let is_countdown = to == State::Paused && after.paused.is_some_and(|it| it.until.is_some());
    let is_same = from == to && (is_countdown || before.summary() == summary);
    (!is_same).then_some(EventKind::State { from, to, summary })
}

fn spec(before: &Status, after: &Status) -> impl Iterator<Item = EventKind> {
    let (old, new) = (&before.spec, &after.spec);
    let activated = new.active.clone().filter(|active| old.active.as_ref() != Some(active));
    let text = old.problem.as_ref().map(|problem| &problem.text);
    let rejected = new.problem.clone().filter(|problem| text != Some(&problem.text));
    let ended =
        (old.problem.is_some() && new.problem.is_none()).then_some(EventKind::SpecRejectionEnded);
    let rejected = rejected.map(|problem| EventKind::SpecRejected { problem });
    let activated = activated.map(|spec| EventKind::SpecActivated { spec });
    rejected.into_iter().chain(ended).chain(activated)
}

fn parameters<'a>(
    before: &'a [ParameterStatus],
    after: &'a [ParameterStatus],
) -> impl Iterator<Item = EventKind> + 'a {
    let changed = missing_from(before, after, |it| (&it.name, &it.value, &it.error));
    let ended = missing_from(after, before, |it| &it.name);
    changed
        .map(|parameter| EventKind::ParameterChanged { parameter: parameter.clone() })
        .chain(ended.map(|old| EventKind::ParameterChangeEnded { name: old.name.clone() }))
}

fn hold(before: &Status, after: &Status) -> impl Iterator<Item = EventKind> {
    let (old, new) = (before.spec.held.clone(), after.spec.held.clone());
    let is_same = old.as_ref().map(|it| &it.id) == new.as_ref().map(|it| &it.id);
    let ended = old.filter(|_| !is_same).map(|held| EventKind::PlanHoldEnded { id: held.id });
    let begun = new.filter(|_| !is_same).map(|held| EventKind::PlanHeld { held });
    ended.into_iter().chain(begun)
}

fn pause(before: Option<Pause>, after: Option<Pause>) -> Option<EventKind> {
    // Its times are computed anew for each status, from two clocks that differ by fractions of a
    // second.
    let is_near = |one: u64, other: u64| one.abs_diff(other) <= 1;
    let is_same = |old: Pause, new: Pause| {
        let ends = match (old.until, new.until) {
            (Some(old), Some(new)) => is_near(old, new),
            (old, new) => old == new,
        };
        ends && is_near(old.since, new.since)
    };
    match (before, after) {
        (Some(old), Some(new)) if is_same(old, new) => None,
        (_, Some(pause)) => Some(EventKind::Paused { pause }),
        (Some(_), None) => Some(EventKind::PauseEnded),
        (None, None) => None,
    }
}

fn failures<'a>(
    before: &'a [FailingObject],
    after: &'a [FailingObject],
) -> impl Iterator<Item = EventKind> + 'a {
    let failed = missing_from(before, after, |it| (&it.object, it.attempts));
    let ended = missing_from(after, before, |it| &it.object);
    failed
        .map(|failing| EventKind::StepFailed { failing: failing.clone() })
        .chain(ended.map(|old| EventKind::FailureEnded { object: old.object.clone() }))
}

fn drains<'a>(
    before: &'a [DrainStatus],
    after: &'a [DrainStatus],
) -> impl Iterator<Item = EventKind> + 'a {
    let started = missing_from(before, after, |it| &it.object);
    let ended = missing_from(after, before, |it| &it.object);
    started
        .map(|drain| EventKind::DrainStarted { drain: drain.clone() })
        .chain(ended.map(|old| EventKind::DrainEnded { object: old.object.clone() }))
}

fn conflicts<'a>(
    before: &'a [Conflict],
    after: &'a [Conflict],
) -> impl Iterator<Item = EventKind> + 'a {
    let found = missing_from(before, after, |it| (&it.object, &it.change.field, it.times));
    let ended = missing_from(after, before, |it| (&it.object, &it.change.field));
    found.map(|conflict| EventKind::Conflict { conflict: conflict.clone() }).chain(ended.map(
        |old| EventKind::ConflictEnded {
            object: old.object.clone(),
            field: old.change.field.clone(),
        },
    ))
}

/// Returns those of `all` whose key none of `known` has.
fn missing_from<'a, T, K: Ord + 'a>(
    known: &'a [T],
    all: &'a [T],
    key: impl Fn(&'a T) -> K + 'a,
) -> impl Iterator<Item = &'a T> + 'a {
    let known: BTreeSet<K> = known.iter().map(&key).collect();
    all.iter().filter(move |it| !known.contains(&key(it)))
}

#[cfg(test)]
mod tests;
