//! Finds where a spec asks for the objects of operations.

use std::cell::LazyCell;

use evenkeel_plan::{Object, Op, UnmetPrecondition};
use evenkeel_spec::{Position, Provenance, RememberedParameters, load_with};
use evenkeel_workflow::ApplyRequest;

/// The positions of the objects of a spec. They take a second reading of its texts, which is made when the
/// first one is asked for.
pub(crate) struct Places<'a>(LazyCell<Provenance, Box<dyn FnOnce() -> Provenance + 'a>>);

impl<'a> Places<'a> {
    /// The positions that `read` returns.
    pub(crate) fn new(read: impl FnOnce() -> Provenance + 'a) -> Self {
        Self(LazyCell::new(Box::new(read)))
    }

    /// The positions in the spec of an apply.
    pub(crate) fn of_apply(request: &'a ApplyRequest<'_>) -> Self {
        let ApplyRequest { texts, parameters, .. } = request;
        Self::new(|| {
            // It was loaded with the same values before.
            let loaded = load_with(texts, &RememberedParameters(parameters.clone()));
            loaded.map_or_else(|_| Provenance::default(), |loaded| loaded.provenance(texts))
        })
    }

    /// Those of no spec.
    pub(crate) fn none() -> Self {
        Self::new(Provenance::default)
    }

    /// The position of an operation's object; `None` for objects that the spec does not list.
    pub(crate) fn of(&self, op: &Op) -> Option<&Position> {
        place(op, &self.0)
    }

    /// What is not met, after the position of the first object that needs it.
    pub(crate) fn unmet(&self, precondition: &UnmetPrecondition, steps: &[Op]) -> String {
        let mut places = steps.iter().filter(|op| precondition.prevents(op)).map(|op| self.of(op));
        match places.find_map(|place| place) {
            Some(place) => format!("{place}: {precondition}"),
            None => precondition.to_string(),
        }
    }
}

/// The position in the spec of an operation's object; `None` for objects that it does not list.
fn place<'a>(op: &Op, places: &'a Provenance) -> Option<&'a Position> {
    match op.object() {
        Object::Service(key) => places.service(&key),
        Object::RealServer(service, key) => places.real_server(&service, &key),
        Object::Vip(binding) => places.vip(&binding),
        Object::Host(object) => places.host_object(&object),
        Object::Sync(state) => places.sync(state),
        Object::Sysctl(key) => places.sysctl(&key),
        Object::Timeouts => ["tcp", "tcp_fin", "udp"].iter().find_map(|key| places.timeout(key)),
        Object::Module(_) | Object::Dummy(_) => None,
    }
}
