//! A host in memory, and a reconciler whose passes the test triggers.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use evenkeel_control::{EventPublisher, Mode, State, Status, Trigger};
use evenkeel_engine::fake_kernel::SharedKernel;
use evenkeel_model::{Link, Live, Owner, RealServerKey};
use evenkeel_source::{
    Follower, HostParameters, HostRequest, Revision, SourceError, SpecSource, SpecText,
};
use evenkeel_spec::{NoParameters, Source};
use tempfile::TempDir;
use tokio::sync::watch;

use crate::liveness::Liveness;
use crate::lost_vips::KeptVips;
use crate::metrics::Metrics;
use crate::reconciler::reload::Outcome;
use crate::reconciler::{Outputs, Reconciler, Wake};
use crate::status;
use crate::systemd::Notifier;
use crate::test_fixtures;

/// A text that the test changes.
#[derive(Clone)]
pub(super) struct Text(Arc<Mutex<String>>);

pub(super) fn spec_text(name: &str, text: &str) -> Result<SpecText, String> {
    SpecText::load(vec![Source::new(name, text)], &NoParameters)
}

impl SpecSource for Text {
    fn watch(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Always the same: the test decides when the text is read.
    fn revision(&mut self) -> Revision {
        "always".into()
    }

    fn open_writers(&self) -> Vec<PathBuf> {
        Vec::new()
    }

    fn fetch(&mut self) -> Result<Vec<Source>, SourceError> {
        let text = self.0.lock().expect("no test panics with it");
        Ok(vec![Source::new("spec.yaml", text.clone())])
    }
}

/// A host and a daemon.
pub(super) struct Fixture {
    pub(super) folder: TempDir,
    pub(super) kernel: SharedKernel,
    pub(super) text: Text,
    pub(super) reconciler: Reconciler<SharedKernel>,
    pub(super) status: watch::Receiver<Arc<Status>>,
}

fn reconciler(
    folder: &Path,
    kernel: &SharedKernel,
    text: &Text,
    mode: Mode,
) -> (Reconciler<SharedKernel>, watch::Receiver<Arc<Status>>) {
    let options = test_fixtures::options(folder, mode);
    let (publish, status) = watch::channel(Arc::new(status::starting(&options, 0)));
    let outputs = Outputs {
        metrics: Metrics::new("0", None),
        liveness: Arc::new(Liveness::new()),
        notifier: Arc::new(Notifier::new()),
        names: Arc::default(),
        publish,
        events: EventPublisher::new(),
        endpoint_problem: Default::default(),
    };
    let connected = kernel.clone();
    let connect = Box::new(move |_| Ok(connected.clone()));
    let parameters = HostParameters::new(BTreeMap::new(), None, HostRequest::AnyHost);
    let follower = Follower::new(Box::new(text.clone()), parameters, options.interval);
    let wake: Wake = Arc::new(|| {});
    (Reconciler::new(options, connect, follower, outputs, (), KeptVips::default(), wake), status)
}

impl Fixture {
    pub(super) fn new(text: &str) -> Self {
        Self::with(text, Mode::Enforce)
    }

    pub(super) fn with(text: &str, mode: Mode) -> Self {
        let kernel = SharedKernel::default();
        let up = |name: &str| (name.into(), Link { up: true, dummy: false, owner: Owner::Other });
        kernel.get().live.links = Some(["lo", "eth0"].map(up).into());
        kernel.get().live.modules = Some(BTreeSet::new());
        let folder = tempfile::tempdir().expect("a folder");
        let text = Text(Arc::new(Mutex::new(text.to_owned())));
        let (reconciler, status) = reconciler(folder.path(), &kernel, &text, mode);
        let mut fixture = Self { folder, kernel, text, reconciler, status };
        fixture.reconciler.begin();
        fixture
    }

    /// Starts another daemon on the same host.
    pub(super) fn restart(&mut self) {
        (self.reconciler, self.status) =
            reconciler(self.folder.path(), &self.kernel, &self.text, Mode::Enforce);
        self.reconciler.begin();
    }

    /// Starts a daemon with a spec of its own on the same host, and stops it after its first pass.
    pub(super) fn run_another_daemon(&self, text: &str) {
        let text = Text(Arc::new(Mutex::new(text.to_owned())));
        let (mut other, _status) =
            reconciler(self.folder.path(), &self.kernel, &text, Mode::Enforce);
        other.begin();
    }

    pub(super) fn write(&mut self, text: &str) {
        text.clone_into(&mut self.text.0.lock().expect("no test panics with it"));
        assert_ne!(self.reconciler.read_spec(), Outcome::Discarded);
        self.pass(Trigger::Spec);
    }

    /// Makes a pass, and those that follow at once.
    pub(super) fn pass(&mut self, trigger: Trigger) {
        self.reconciler.pass(trigger);
        for _ in 0..20 {
            if self
                .reconciler
                .schedule
                .retry
                .is_none_or(|time| time > self.reconciler.schedule.clock.now())
            {
                return;
            }
            self.reconciler.pass(Trigger::Retry);
        }
        panic!("passes follow each other without an end");
    }

    pub(super) fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    pub(super) fn assert_state(&self, state: State, message: &str) {
        let status = self.status();
        let reasons = status.reasons.join("\n");
        assert_eq!(status.state, state, "{reasons}");
        assert!(reasons.contains(message), "{message}: {reasons}");
    }

    pub(super) fn live(&self) -> Live {
        self.kernel.get().live.clone()
    }

    /// Returns the weights by the addresses of the real servers.
    pub(super) fn weights(&self) -> BTreeMap<String, u32> {
        let live = self.live();
        let services = live.services.values();
        let all = services.flat_map(|service| service.real_servers.in_order());
        all.map(|(key, real_server)| (key.address.to_string(), real_server.weight)).collect()
    }

    pub(super) fn received(&self) -> usize {
        self.kernel.get().received.len()
    }
}

pub(super) fn set_weight(live: &mut Live, address: &str, weight: u32) {
    for service in live.services.values_mut() {
        let all: Vec<RealServerKey> =
            service.real_servers.in_order().map(|(key, _)| *key).collect();
        for key in all.iter().filter(|key| key.address.to_string() == address) {
            if let Some(real_server) = service.real_servers.get_mut(key) {
                real_server.weight = weight;
            }
        }
    }
}
