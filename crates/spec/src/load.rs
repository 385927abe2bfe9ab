//! Loads texts into the desired state: with the fast parser if they are valid, else with the one
//! that keeps positions.

use std::collections::BTreeMap;

use evenkeel_model::statistics::Statistics;
use evenkeel_model::{
    Desired, DesiredTimeouts, HostInputs, HostObjectKind, Live, LiveHostObjects, Owner, OwnerName,
    RoleProblem, Timeouts,
};

use crate::parameter::{self, HostKnowledge, NoParameters, Parameters, Values};
use crate::path::{At, Path};
use crate::problem::{Position, Problem, Problems, Related, Severity};
use crate::recovering_de::Field;
use crate::resolve::{
    self, ClusterSpec, Diagnostic, Diagnostics, RoleMessage, SpanTarget, ignored_message,
    place_of_roles, role_message,
};
use crate::snapshot_section::SnapshotSection;
use crate::source::{self, Lines, NotText, Source};
use crate::spanned::{self, Broken, Mark, Tree};
use crate::spans::Located;
use crate::spec::Spec;
use crate::suggest;
use crate::yaml::{self, PieceError, Reading};

/// A valid spec, read and resolved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The desired state, with defaults filled in and services expanded.
    pub desired: Desired,
    /// The warnings, all of [`Severity::Warning`].
    pub warnings: Problems,
    /// The spec for the whole cluster; `None` if it lists no directors and the host is one.
    pub(crate) cluster: Option<ClusterSpec>,
    observed: SnapshotSection,
    /// The values of its parameters.
    pub(crate) values: Values,
}

impl Loaded {
    /// The values of the parameters in the texts, by the text between their braces.
    pub fn parameters(&self) -> BTreeMap<Box<str>, Box<str>> {
        self.values.known()
    }

    /// The hosts that the spec lists; `None` if it lists no directors.
    pub fn cluster(&self) -> Option<&evenkeel_model::Cluster> {
        self.cluster.as_ref().map(|spec| &spec.cluster)
    }

    /// What the spec means for another host of the cluster.
    ///
    /// # Errors
    /// The roles of that host are not known.
    pub fn for_host(&self, inputs: &HostInputs) -> Result<Desired, RoleProblem> {
        match &self.cluster {
            Some(cluster) => cluster.for_host(inputs),
            None => Ok(self.desired.clone()),
        }
    }

    /// The inputs from which the roles of the host were determined; `None` if they were not needed.
    pub fn host_inputs(&self) -> Option<&HostInputs> {
        self.values.host()
    }

    /// The counters that a snapshot recorded; `None` for a spec without any.
    pub fn statistics(&self) -> Option<&Statistics> {
        self.observed.statistics.as_ref()
    }

    /// The live state that a snapshot describes: its services, timeouts, sync daemons and
    /// sysctls, and the addresses, interfaces and kernel modules it recorded. A spec that recorded
    /// none describes a host on which exactly its VIPs are bound. If it names some timeouts, the
    /// others have the kernel's initial values; if it names none, the timeouts are unknown.
    pub fn into_live(self) -> Live {
        let Desired {
            services,
            vips,
            host_objects: asked,
            timeouts,
            sync,
            sysctls,
            owner: _,
            roles: _,
            elsewhere: _,
            real_server: _,
            expected_gateways: _,
            overrides: _,
            maintenance_dir: _,
            scope: _,
            when_left: _,
            kept: _,
            removed: _,
            guards: _,
            drain: _,
        } = self.desired;
        let SnapshotSection { addresses, mut labels, host_objects, links, modules, statistics: _ } =
            self.observed;
        if addresses.is_none() {
            labels.extend(vips.iter().filter_map(|(binding, vip)| {
                let label = vip.label.clone().filter(|label| *label != binding.interface);
                Some((binding.clone(), label?))
            }));
        }
        let host_objects = match host_objects {
            Some(objects) => LiveHostObjects {
                read: HostObjectKind::ALL.into(),
                objects,
                ..LiveHostObjects::default()
            },
            None => LiveHostObjects::of_evenkeel(asked),
        };
        let bound = || vips.into_keys().map(|binding| (binding, Owner::Evenkeel)).collect();
        Live {
            services: services.into_iter().map(|(key, named)| (key, named.service)).collect(),
            addresses: addresses.unwrap_or_else(bound),
            labels,
            secondaries: std::collections::BTreeMap::new(),
            local_by_route: None,
            host_objects,
            links,
            timeouts: (timeouts != DesiredTimeouts::default())
                .then(|| timeouts.over(Timeouts::INITIAL)),
            sync: sync.unwrap_or_default(),
            sync_links: BTreeMap::new(),
            sysctls,
            sysctls_read_only: std::collections::BTreeSet::new(),
            sysctl_obstacles: BTreeMap::new(),
            modules,
        }
    }
}

/// Reads a spec from one or several texts. Lists append, maps merge by key; the same leaf twice
/// is an error. No parameter has a value.
///
/// # Errors
/// All problems of all texts, warnings included, ordered by position.
pub fn load(sources: &[Source]) -> Result<Loaded, Problems> {
    load_with(sources, &NoParameters)
}

/// Loads a spec as [`load`] does, with values for its parameters (`${...}`).
///
/// # Errors
/// As [`load`]; also a parameter that has no value, at its position.
pub fn load_with(sources: &[Source], parameters: &dyn Parameters) -> Result<Loaded, Problems> {
    if sources.is_empty() {
        return Err(nothing_to_read());
    }
    let mut report = Report {
        sources,
        parameters,
        values: Values::default(),
        problems: Vec::new(),
        left_out: 0,
    };
    let texts: Vec<Option<&str>> =
        sources.iter().enumerate().map(|(index, source)| report.text(index, source)).collect();
    let mut read: Read = yaml::read;
    let Attempt { desired, cluster, observed, diagnostics } = loop {
        match report.attempt(&texts, read) {
            Ok(attempted) => break attempted,
            Err(PieceError) => read = yaml::read_whole,
        }
    };
    report.diagnostics(&texts, diagnostics.into_list());
    let Report { mut problems, left_out, values, .. } = report;
    values.mask(&mut problems);
    let problems = Problems::new(problems, left_out);
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(Loaded { desired, warnings: problems, cluster, observed, values })
    }
}

/// Returns the owner that the texts name, before they are loaded: where its journal is, and thus what
/// the host was before, depends on it. `None` if none is named, or the texts cannot be read.
pub fn named_owner(sources: &[Source]) -> Option<OwnerName> {
    let texts = sources.iter().filter_map(|source| source::text(source).ok());
    texts.filter(|text| text.contains("owner")).find_map(yaml::owner)
}

/// The observations of the last snapshot among the sources.
fn observed(readings: Vec<Option<Reading<'_>>>) -> SnapshotSection {
    let mut sections = readings.into_iter().flatten().filter_map(|it| match it.spec.observed {
        Field::Value(observed) => Some(*observed),
        Field::Absent | Field::Bad => None,
    });
    sections.next_back().unwrap_or_default()
}

fn nothing_to_read() -> Problems {
    let problem = Problem {
        severity: Severity::Error,
        place: None,
        context: None,
        message: "there is no spec to read".to_owned(),
        remedy: Some("name a file, a directory with *.yaml files, or `-`".to_owned()),
        related: Vec::new(),
    };
    Problems::new(vec![problem], 0)
}

/// A parser of valid specs.
type Read = for<'t> fn(&'t str) -> Result<Reading<'t>, yaml::Failure>;

/// The result of resolving all texts.
struct Attempt {
    desired: Desired,
    cluster: Option<ClusterSpec>,
    observed: SnapshotSection,
    diagnostics: Diagnostics,
}

/// Collects problems and resolves their positions.
struct Report<'s> {
    sources: &'s [Source],
    parameters: &'s dyn Parameters,
    values: Values,
    problems: Vec<Problem>,
    left_out: usize,
}

impl Report<'_> {
    fn text<'s>(&mut self, index: usize, source: &'s Source) -> Option<&'s str> {
        match source::text(source) {
            Ok(text) => Some(text),
            Err(NotText { at, message, remedy }) => {
                let readable = source::without_mark(&source.text).get(..at).unwrap_or_default();
                let readable = String::from_utf8_lossy(readable);
                let end = readable.len();
                let place = Lines::new(&readable).place(index, &source.name, end..end + 1);
                self.push(place, None, message, Some(remedy.to_owned()));
                None
            }
        }
    }

    /// Returns the desired state of this host, and the whole spec if it lists directors; reports if the
    /// host's roles are not known.
    fn for_host(
        &mut self,
        mut spec: ClusterSpec,
        readings: &[Option<Reading<'_>>],
        diagnostics: &mut Diagnostics,
    ) -> (Desired, Option<ClusterSpec>) {
        if spec.cluster.directors.is_empty() {
            if !self.parameters.may_be_no_director() {
                return (spec.whole, None);
            }
            spec.list_real_servers();
        }
        let sources = readings.iter().enumerate();
        let sources: Vec<_> = sources
            .filter_map(|(index, reading)| Some((At::Root(index), &reading.as_ref()?.spec)))
            .collect();
        let place = || place_of_roles(&sources);
        let problem = match self.parameters.host(&spec.cluster) {
            Ok(HostKnowledge::AnyHost) => return (spec.whole.clone(), Some(spec)),
            Ok(HostKnowledge::Host(inputs)) => match spec.for_host(&inputs) {
                Ok(desired) => {
                    if let Some(RoleMessage { message, remedy }) =
                        ignored_message(&desired, &spec, &inputs)
                        && let Some(place) = place()
                    {
                        diagnostics.warning(place, message).remedy(remedy);
                    }
                    self.values.set_host(inputs);
                    return (desired, Some(spec));
                }
                Err(problem) => role_message(&problem, &spec.cluster, &inputs),
            },
            Err(why) => RoleMessage::unavailable(&why),
        };
        if let Some(place) = place() {
            diagnostics.error(place, problem.message).remedy(problem.remedy);
        }
        (Desired::default(), None)
    }

    /// Resolves all texts. Services are parsed only when they are consumed, so a piece of them may
    /// then turn out to be unreadable; in that case no problem has been reported for any text.
    fn attempt(&mut self, texts: &[Option<&str>], read: Read) -> Result<Attempt, PieceError> {
        let before = (self.problems.len(), self.left_out);
        let readings = texts.iter().enumerate();
        let readings = readings.map(|(index, text)| self.reading(index, (*text)?, read));
        let mut readings: Vec<_> = readings.collect();
        let complete = readings.iter().all(Option::is_some);
        let mut diagnostics = Diagnostics::default();
        let owner = self.parameters.expected_owner();
        let is_clean = (self.problems.len(), self.left_out) == before;
        let known = resolve::Known { complete, is_clean, owner: owner.as_ref() };
        match resolve::resolve(&mut readings, known, &mut diagnostics) {
            Ok(cluster) => {
                let (desired, cluster) = self.for_host(cluster, &readings, &mut diagnostics);
                Ok(Attempt { desired, cluster, observed: observed(readings), diagnostics })
            }
            Err(PieceError) => {
                self.problems.truncate(before.0);
                self.left_out = before.1;
                Err(PieceError)
            }
        }
    }

    /// The spec of a text: read by `read` if it is valid, else as much of it as could be read, with
    /// its problems reported.
    fn reading<'t>(&mut self, index: usize, text: &'t str, read: Read) -> Option<Reading<'t>> {
        if spanned::needs_measuring(text)
            && let Err(broken) = spanned::build(text)
        {
            self.broken(index, text, broken);
            return None;
        }
        // Only the parser that keeps positions distinguishes scalars from keys and comments, so only it can
        // replace parameters.
        if parameter::may_stand_in(text) {
            return self.spec_with_places(index, text, None).map(Reading::from);
        }
        match read(text) {
            Ok(reading) => Some(reading),
            Err(failure) => self.spec_with_places(index, text, Some(failure)).map(Reading::from),
        }
    }

    fn spec_with_places(
        &mut self,
        index: usize,
        text: &str,
        failure: Option<yaml::Failure>,
    ) -> Option<Spec> {
        let mut tree = match spanned::build(text) {
            Ok(tree) => tree,
            Err(broken) => {
                self.broken(index, text, broken);
                return None;
            }
        };
        let unset = self.values.expand(&mut tree, self.parameters);
        let located = Located::new(tree, Lines::new(text), index, &self.sources[index].name);
        let tree = &located.tree;
        let Some(root) = tree.root.filter(|root| !is_empty(tree, *root)) else {
            let place = located.lines.place(index, &self.sources[index].name, 0..text.len());
            let remedy =
                "write one, or state that nothing is wanted: `version: 1` and `services: []`";
            self.push(place, None, "the spec is empty".into(), Some(remedy.into()));
            return None;
        };
        let before = self.problems.len();
        let (spec, noted, left_out) = spanned::read::<Spec>(tree, root);
        self.left_out += left_out;
        for spanned::Noted { node, message, remedy } in unset.into_iter().chain(noted) {
            self.push(located.place(node), located.context(node), message, remedy);
        }
        let repeated = tree.repeated_keys();
        self.left_out += repeated.len().saturating_sub(Problems::MAX);
        for (first, again) in repeated.into_iter().take(Problems::MAX) {
            let key = suggest::quote(tree.text(again).unwrap_or_default());
            let message = format!("the key {key} occurs twice here");
            let remedy = Some("keep one of them".to_owned());
            let problem = self.push(located.place(again), located.context(again), message, remedy);
            let label = "first written here".to_owned();
            problem.related.push(Related { place: located.place(first), label });
        }
        let remedy = Some("write plain YAML, without tags".to_owned());
        if let (None, Some(node)) = (&failure, tree.tagged) {
            let message = "a spec with parameters cannot have tags".to_owned();
            self.push(located.place(node), located.context(node), message, remedy);
        } else if let (Some(failure), true) = (failure, self.problems.len() == before) {
            let yaml::Failure { message, line, column } = failure;
            let narrow = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
            let offset = narrow(located.lines.offset(line, column));
            let at = Mark { offset, line: narrow(line) };
            let message = format!("this cannot be read: {message}");
            self.broken(index, text, Broken { at, message, remedy });
            return None;
        }
        spec
    }

    /// Reports a text that is not YAML, or exceeds a limit.
    fn broken(&mut self, index: usize, text: &str, broken: Broken) {
        let Broken { at, mut message, mut remedy } = broken;
        let lines = Lines::new(text);
        let (mut start, line) = (at.offset as usize, at.line as usize);
        let tab = lines.tab_in_indentation(line).or_else(|| lines.tab_in_indentation(line + 1));
        if let Some(tab) = tab {
            start = tab;
            message = "there is a tab in the indentation".to_owned();
            remedy = Some("YAML indents with spaces: replace it".to_owned());
        } else if remedy.is_none() {
            message = format!("this is not YAML: {message}");
            let advice = if parameter::may_stand_in(lines.line(line).1) {
                "within brackets a parameter needs quotes: `{ port: \"${port}\" }`"
            } else {
                "check the indentation, quotes and brackets here and just before"
            };
            remedy = Some(advice.to_owned());
        }
        let place = lines.place(index, &self.sources[index].name, start..start + 1);
        self.push(place, None, message, remedy);
    }

    /// Resolves the positions of diagnostics.
    fn diagnostics(&mut self, texts: &[Option<&str>], diagnostics: Vec<Diagnostic>) {
        if diagnostics.is_empty() {
            return;
        }
        let located: Vec<Option<Located<'_>>> = texts
            .iter()
            .zip(self.sources)
            .enumerate()
            .map(|(index, (text, source))| {
                let text = (*text)?;
                let mut tree = spanned::build(text).ok()?;
                self.values.expand(&mut tree, self.parameters);
                Some(Located::new(tree, Lines::new(text), index, &source.name))
            })
            .collect();
        let locate = |path: &Path, span_target: SpanTarget| {
            let located = located.get(path.source)?.as_ref()?;
            let (key, value) = located.tree.find(path)?;
            Some((
                located,
                if span_target == SpanTarget::Key { key.unwrap_or(value) } else { value },
            ))
        };
        for Diagnostic { severity, path, span_target, message, remedy, related } in diagnostics {
            let found = locate(&path, span_target);
            let related = related.into_iter().filter_map(|(path, label)| {
                let (located, node) = locate(&path, SpanTarget::Value)?;
                Some(Related { place: located.place(node), label: label.to_owned() })
            });
            let related = related.collect();
            let place = found.map(|(located, node)| located.place(node));
            let context = found.and_then(|(located, node)| located.context(node));
            self.problems.push(Problem { severity, place, context, message, remedy, related });
        }
    }

    fn push(
        &mut self,
        place: Position,
        context: Option<String>,
        message: String,
        remedy: Option<String>,
    ) -> &mut Problem {
        let (severity, place, related) = (Severity::Error, Some(place), Vec::new());
        let index = self.problems.len();
        self.problems.push(Problem { severity, place, context, message, remedy, related });
        &mut self.problems[index]
    }
}

fn is_empty(tree: &Tree<'_>, root: usize) -> bool {
    matches!(tree.text(root), Some("" | "~" | "null" | "Null" | "NULL"))
}
