//! A host in memory with a daemon that makes its passes when it is told to.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use evenkeel_engine::memory::MemoryKernel;
use evenkeel_engine::{Kernel, KernelError, LastSpec, LockError, Replies, Sysctls};
use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Binding, FileContents, Link, Live, Owner, RealServerKey, Service, ServiceKey,
};
use evenkeel_plan::Op;
use tempfile::TempDir;
use tokio::sync::watch;

use crate::files::Files;
use crate::heartbeat::Heartbeat;
use crate::keeper::{Ground, Keeper, Surroundings};
use crate::metrics::Metrics;
use crate::source::{SpecSource, SpecText};
use crate::status::{Mode, State, Status};
use crate::systemd::Notifier;
use crate::{Reason, sample};

/// A kernel in memory that the test sees too.
#[derive(Clone, Default)]
pub(super) struct Shared(Arc<Mutex<MemoryKernel>>);

impl Shared {
    pub(super) fn get(&self) -> MutexGuard<'_, MemoryKernel> {
        self.0.lock().expect("no test panics with it")
    }
}

impl Kernel for Shared {
    fn observe(&mut self, sysctls: &Sysctls) -> Result<Live, KernelError> {
        self.get().observe(sysctls)
    }

    fn observe_with_statistics(
        &mut self,
        sysctls: &Sysctls,
    ) -> Result<(Live, Statistics), KernelError> {
        self.get().observe_with_statistics(sysctls)
    }

    fn services(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<BTreeMap<ServiceKey, Service>, KernelError> {
        self.get().services(keys)
    }

    fn services_with_statistics(
        &mut self,
        keys: &BTreeSet<ServiceKey>,
    ) -> Result<(BTreeMap<ServiceKey, Service>, Statistics), KernelError> {
        self.get().services_with_statistics(keys)
    }

    fn surroundings(&mut self, sysctls: &Sysctls, live: &mut Live) -> Result<(), KernelError> {
        self.get().surroundings(sysctls, live)
    }

    fn execute(&mut self, ops: &[Op]) -> Result<Replies, KernelError> {
        self.get().execute(ops)
    }
}

impl Ground for Shared {
    type Glance = ();
    type Right = ();

    fn glance(&mut self) -> Result<(), KernelError> {
        Ok(())
    }

    fn is_unchanged(
        &mut self,
        (): &(),
        _: &Live,
        _: &BTreeSet<ServiceKey>,
        _: &Sysctls,
    ) -> Result<bool, KernelError> {
        Ok(false)
    }

    fn announce_risen(&mut self, _: &[&Binding]) -> Result<Vec<String>, KernelError> {
        Ok(Vec::new())
    }

    fn set_journalled(&mut self, _: BTreeSet<Binding>) {}

    fn lock() -> Result<(), LockError> {
        Ok(())
    }

    fn try_lock() -> Result<Option<()>, LockError> {
        Ok(Some(()))
    }
}

/// A text that the test changes.
#[derive(Clone)]
pub(super) struct Text(Arc<Mutex<String>>);

pub(super) fn spec_text(name: &str, text: &str) -> Result<SpecText, String> {
    let sources = [evenkeel_spec::Source::new(name, text)];
    let loaded =
        evenkeel_spec::load(&sources).map_err(|problems| problems.render(&sources, false))?;
    Ok(SpecText {
        parameters: loaded.parameters(),
        desired: Arc::new(loaded.desired),
        texts: vec![(name.to_owned(), text.as_bytes().to_vec())],
        warnings: String::new(),
    })
}

impl SpecSource for Text {
    fn read(&mut self) -> Result<SpecText, String> {
        spec_text("spec.yaml", &self.0.lock().expect("no test panics with it"))
    }

    fn remembered(&mut self, last: LastSpec) -> Option<SpecText> {
        let (name, text) = last.texts.first()?;
        spec_text(name, std::str::from_utf8(text).ok()?).ok()
    }

    fn contents(&self, spec: &SpecText) -> Vec<FileContents> {
        let texts = spec.texts.iter();
        let sources: Vec<_> = texts
            .map(|(name, text)| evenkeel_spec::Source::new(name.clone(), text.clone()))
            .collect();
        evenkeel_spec::load(&sources).map(|it| it.contents(&sources)).unwrap_or_default()
    }
}

/// Host and daemon.
pub(super) struct Site {
    pub(super) folder: TempDir,
    pub(super) kernel: Shared,
    pub(super) text: Text,
    pub(super) keeper: Keeper<Shared>,
    pub(super) status: watch::Receiver<Arc<Status>>,
}

fn keeper(
    folder: &Path,
    kernel: &Shared,
    text: &Text,
    mode: Mode,
) -> (Keeper<Shared>, watch::Receiver<Arc<Status>>) {
    let options = sample::options(folder, mode);
    let (publish, status) = watch::channel(Arc::new(Status::starting(&options, 0)));
    let surroundings = Surroundings {
        metrics: Metrics::new("0", None),
        heartbeat: Arc::new(Heartbeat::new()),
        notifier: Arc::new(Notifier::new()),
        names: Arc::default(),
        publish,
    };
    let connected = kernel.clone();
    let connect = Box::new(move |_| Ok(connected.clone()));
    let files = Files::new(Vec::new(), || ());
    (Keeper::new(options, connect, Box::new(text.clone()), files, surroundings), status)
}

impl Site {
    pub(super) fn new(text: &str) -> Self {
        Self::with(text, Mode::Enforce)
    }

    pub(super) fn with(text: &str, mode: Mode) -> Self {
        let kernel = Shared::default();
        let up = |name: &str| (name.into(), Link { up: true, dummy: false, owner: Owner::Other });
        kernel.get().live.links = Some(["lo", "eth0"].map(up).into());
        kernel.get().live.modules = Some(BTreeSet::new());
        let folder = tempfile::tempdir().expect("a folder");
        let text = Text(Arc::new(Mutex::new(text.to_owned())));
        let (keeper, status) = keeper(folder.path(), &kernel, &text, mode);
        let mut site = Self { folder, kernel, text, keeper, status };
        site.keeper.begin();
        site
    }

    /// Another daemon on the same host.
    pub(super) fn restart(&mut self) {
        (self.keeper, self.status) =
            keeper(self.folder.path(), &self.kernel, &self.text, Mode::Enforce);
        self.keeper.begin();
    }

    pub(super) fn write(&mut self, text: &str) {
        text.clone_into(&mut self.text.0.lock().expect("no test panics with it"));
        assert!(self.keeper.read_spec());
        self.pass(Reason::Spec);
    }

    /// A pass, and those that follow at once.
    pub(super) fn pass(&mut self, reason: Reason) {
        self.keeper.pass(reason);
        for _ in 0..20 {
            if self.keeper.due.retry.is_none_or(|time| time > self.keeper.clock.now()) {
                return;
            }
            self.keeper.pass(Reason::Retry);
        }
        panic!("it makes passes without an end");
    }

    pub(super) fn status(&self) -> Arc<Status> {
        self.status.borrow().clone()
    }

    pub(super) fn assert_state(&self, state: State, words: &str) {
        let status = self.status();
        let reasons = status.reasons.join("\n");
        assert_eq!(status.state, state, "{reasons}");
        assert!(reasons.contains(words), "{words}: {reasons}");
    }

    pub(super) fn live(&self) -> Live {
        self.kernel.get().live.clone()
    }

    /// The weights by the last number of the real servers' addresses.
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
