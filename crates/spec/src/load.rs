//! From texts to the desired state: the quick way when all is well, the careful one when not.

use evenkeel_model::{Desired, Live, Owner};

use crate::field::Field;
use crate::marked::{self, Mark, Node, Tree};
use crate::observed::Observed;
use crate::path::Path;
use crate::problem::{Place, Problem, Problems, Related, Severity};
use crate::resolve::{self, Finding, Spot};
use crate::source::{self, Lines, NotText, Source};
use crate::spec::Spec;
use crate::yaml;

/// What a good spec asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The desired state, defaults filled in, services expanded.
    pub desired: Desired,
    /// What is doubtful, all of [`Severity::Warning`].
    pub warnings: Problems,
    observed: Observed,
}

impl Loaded {
    /// The live state that a snapshot stands for: its services, and the addresses and interfaces
    /// it observed. A spec that observed nothing stands for a host where exactly its VIPs are
    /// bound.
    pub fn into_live(self) -> Live {
        let Desired { services, vips, .. } = self.desired;
        let Observed { addresses, links } = self.observed;
        let bound = || vips.into_keys().map(|binding| (binding, Owner::Evenkeel)).collect();
        Live {
            services: services.into_iter().map(|(key, named)| (key, named.service)).collect(),
            addresses: addresses.unwrap_or_else(bound),
            links,
        }
    }
}

/// Reads a spec from one or several texts. Lists append, maps merge by key; the same leaf twice
/// is an error.
///
/// # Errors
/// Everything that is wrong with any of the texts, by place; warnings among them.
pub fn load(sources: &[Source]) -> Result<Loaded, Problems> {
    if sources.is_empty() {
        return Err(nothing_to_read());
    }
    let mut report = Report { sources, problems: Vec::new(), left_out: 0 };
    let texts: Vec<Option<&str>> =
        sources.iter().enumerate().map(|(index, source)| report.text(index, source)).collect();
    let mut specs = Vec::with_capacity(sources.len());
    for (index, text) in texts.iter().enumerate() {
        match text {
            Some(text) => specs.push(report.spec(index, text)),
            None => specs.push(None),
        }
    }
    let complete = specs.iter().all(Option::is_some);
    let (desired, findings) = resolve::resolve(&specs, complete);
    let observed = observed(specs);
    report.findings(&texts, findings);
    let Report { problems, left_out, .. } = report;
    let problems = Problems::new(problems, left_out);
    if problems.has_errors() {
        Err(problems)
    } else {
        Ok(Loaded { desired, warnings: problems, observed })
    }
}

/// What the last snapshot among the sources observed.
fn observed(specs: Vec<Option<Spec>>) -> Observed {
    let mut sections = specs.into_iter().flatten().filter_map(|spec| match spec.observed {
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

/// Collects problems and gives them their places.
struct Report<'s> {
    sources: &'s [Source],
    problems: Vec<Problem>,
    left_out: usize,
}

impl Report<'_> {
    fn text<'s>(&mut self, index: usize, source: &'s Source) -> Option<&'s str> {
        match source::text(&source.text) {
            Ok(text) => Some(text),
            Err(NotText { at, message, remedy }) => {
                let readable = String::from_utf8_lossy(source.text.get(..at).unwrap_or_default());
                let end = readable.len();
                let place = Lines::new(&readable).place(index, &source.name, end..end + 1);
                self.push(Severity::Error, place, message, Some(remedy.to_owned()));
                None
            }
        }
    }

    /// The spec of a text; after noting everything that is wrong with it, as much of the spec as
    /// could be read.
    fn spec(&mut self, index: usize, text: &str) -> Option<Spec> {
        if needs_bounds(text)
            && let Err(broken) = marked::build(text)
        {
            self.broken(index, text, broken);
            return None;
        }
        match yaml::read(text) {
            Ok(spec) => Some(spec),
            Err(failure) => self.spec_with_places(index, text, &failure),
        }
    }

    fn spec_with_places(
        &mut self,
        index: usize,
        text: &str,
        failure: &yaml::Failure,
    ) -> Option<Spec> {
        let tree = match marked::build(text) {
            Ok(tree) => tree,
            Err(broken) => {
                self.broken(index, text, broken);
                return None;
            }
        };
        let name = self.sources[index].name.clone();
        let lines = Lines::new(text);
        let Some(root) = tree.root.filter(|root| !is_empty(&tree, *root)) else {
            let place = lines.place(index, &name, 0..text.len());
            let remedy = "write one, or say outright that nothing is wanted: `version: 1` and `services: []`";
            self.push(Severity::Error, place, "the spec is empty".into(), Some(remedy.into()));
            return None;
        };
        let before = self.problems.len();
        let (spec, noted, left_out) = marked::read::<Spec>(&tree, root);
        self.left_out += left_out;
        let contexts = Contexts::new(&tree);
        for marked::Noted { node, message, remedy } in noted {
            let node = tree.node(node);
            let place = place_of(&tree, node, &lines, index, &name);
            self.push(Severity::Error, place, message, remedy);
            self.context(&contexts, node.start);
        }
        let repeated = tree.repeated_keys();
        self.left_out += repeated.len().saturating_sub(Problems::MAX);
        for (first, again) in repeated.into_iter().take(Problems::MAX) {
            let node = tree.node(again);
            let key = crate::suggest::quote(tree.text(again).unwrap_or_default());
            let place = place_of(&tree, node, &lines, index, &name);
            let remedy = Some("keep one of them".to_owned());
            self.push(Severity::Error, place, format!("the key {key} stands here twice"), remedy);
            self.context(&contexts, node.start);
            let place = place_of(&tree, tree.node(first), &lines, index, &name);
            self.relate(Related { place, label: "first written here".to_owned() });
        }
        if self.problems.len() == before {
            let yaml::Failure { message, line, column } = failure;
            let offset = u32::try_from(lines.offset(*line, *column)).unwrap_or(u32::MAX);
            let at = Mark { offset, line: u32::try_from(*line).unwrap_or(u32::MAX) };
            let broken = marked::Broken { at, message: message.clone(), remedy: None };
            self.broken(index, text, broken);
            return None;
        }
        spec
    }

    /// A text that is no YAML, or no bounded one.
    fn broken(&mut self, index: usize, text: &str, broken: marked::Broken) {
        let marked::Broken { at, mut message, mut remedy } = broken;
        let lines = Lines::new(text);
        let mut start = at.offset as usize;
        if let Some(tab) = tab_in_indentation(&lines, at.line as usize) {
            start = tab;
            message = "there is a tab in the indentation".to_owned();
            remedy = Some("YAML indents with spaces: replace it".to_owned());
        } else if remedy.is_none() {
            message = format!("this is not YAML: {message}");
            remedy =
                Some("look at the indentation, quotes and brackets here and just before".into());
        }
        let place = lines.place(index, &self.sources[index].name, start..start + 1);
        self.push(Severity::Error, place, message, remedy);
    }

    fn findings(&mut self, texts: &[Option<&str>], findings: Vec<Finding>) {
        if findings.is_empty() {
            return;
        }
        let trees: Vec<Option<(Tree<'_>, Lines<'_>)>> = texts
            .iter()
            .map(|text| text.and_then(|text| Some((marked::build(text).ok()?, Lines::new(text)))))
            .collect();
        let names: Vec<&str> = self.sources.iter().map(|source| source.name.as_str()).collect();
        let contexts: Vec<_> =
            trees.iter().map(|tree| tree.as_ref().map(|(tree, _)| Contexts::new(tree))).collect();
        let locate = |path: &Path, spot: Spot| -> Option<(Place, Mark)> {
            let (tree, lines) = trees.get(path.source)?.as_ref()?;
            let (key, value) = tree.find(path)?;
            let node = tree.node(if spot == Spot::Key { key.unwrap_or(value) } else { value });
            Some((place_of(tree, node, lines, path.source, names[path.source]), node.start))
        };
        for finding in findings {
            let Finding { severity, path, spot, message, remedy, related } = finding;
            let located = locate(&path, spot);
            let context = located.as_ref().and_then(|(_, mark)| {
                contexts.get(path.source)?.as_ref()?.of(*mark).map(str::to_owned)
            });
            let related = related
                .into_iter()
                .filter_map(|(path, label)| {
                    Some(Related { place: locate(&path, Spot::Value)?.0, label: label.to_owned() })
                })
                .collect();
            let place = located.map(|(place, _)| place);
            self.problems.push(Problem { severity, place, context, message, remedy, related });
        }
    }

    fn push(&mut self, severity: Severity, place: Place, message: String, remedy: Option<String>) {
        let (context, related) = (None, Vec::new());
        self.problems.push(Problem {
            severity,
            place: Some(place),
            context,
            message,
            remedy,
            related,
        });
    }

    fn context(&mut self, contexts: &Contexts, mark: Mark) {
        if let Some(problem) = self.problems.last_mut() {
            problem.context = contexts.of(mark).map(str::to_owned);
        }
    }

    fn relate(&mut self, related: Related) {
        if let Some(problem) = self.problems.last_mut() {
            problem.related.push(related);
        }
    }
}

/// Whether a text has to be measured before serde_yaml may see it, which keeps no bounds on
/// aliases and takes time quadratic in the depth of brackets. Nearly no spec has either.
fn needs_bounds(text: &str) -> bool {
    const DEEP: usize = 32;
    let (mut anchors, mut aliases) = (false, false);
    // Brackets that are open, and `-` and `?` that begin a line together: each is a level.
    let (mut depth, mut dashes, mut deepest) = (0usize, 0usize, 0);
    let mut in_front = true;
    for byte in text.bytes() {
        match byte {
            b'\n' | b'\r' => (in_front, dashes) = (true, 0),
            b' ' | b'\t' => {}
            b'-' | b'?' | b':' if in_front => dashes += 1,
            other => {
                in_front = false;
                match other {
                    b'&' => anchors = true,
                    b'*' => aliases = true,
                    b'[' | b'{' => depth += 1,
                    b']' | b'}' => depth = depth.saturating_sub(1),
                    _ => {}
                }
            }
        }
        deepest = deepest.max(depth).max(dashes);
    }
    (anchors && aliases) || deepest > DEEP
}

fn is_empty(tree: &Tree<'_>, root: usize) -> bool {
    matches!(tree.text(root), Some("" | "~" | "null" | "Null" | "NULL"))
}

fn tab_in_indentation(lines: &Lines<'_>, line: usize) -> Option<usize> {
    let (start, text) = lines.line(line);
    let indentation = text.len() - text.trim_start_matches([' ', '\t']).len();
    text[..indentation].find('\t').map(|tab| start + tab)
}

/// A scalar's own text; of a list or map what stands of it on its first line.
fn place_of(
    tree: &Tree<'_>,
    node: &Node<'_>,
    lines: &Lines<'_>,
    index: usize,
    name: &str,
) -> Place {
    let start = node.start.min(match &node.content {
        marked::Content::Map(entries) => {
            entries.first().map_or(node.start, |(key, _)| tree.node(*key).start)
        }
        _ => node.start,
    });
    let span = start.offset as usize..(node.end.offset as usize).max(start.offset as usize);
    lines.place(index, name, span)
}

/// Where each named service and pool begins and ends, to say to which of them a place belongs.
struct Contexts(Vec<(Mark, Mark, String)>);

impl Contexts {
    fn new(tree: &Tree<'_>) -> Self {
        let mut named = Vec::new();
        for (key, what) in [("services", "service"), ("pools", "pool")] {
            let list = tree.root.and_then(|root| tree.entry(root, key));
            let Some((_, list)) = list else { continue };
            let marked::Content::List(items) = &tree.node(list).content else { continue };
            for item in items {
                let node = tree.node(*item);
                let name = tree.entry(*item, "name").and_then(|(_, name)| tree.text(name));
                if let Some(name) = name.filter(|name| !name.is_empty()) {
                    let name = crate::suggest::quote(name);
                    let name = name.trim_matches('`');
                    named.push((node.start, node.end, format!("{what} {name}")));
                }
            }
        }
        named.sort();
        Self(named)
    }

    fn of(&self, mark: Mark) -> Option<&str> {
        let behind = self.0.partition_point(|(start, _, _)| *start <= mark);
        let (_, end, name) = self.0.get(behind.checked_sub(1)?)?;
        (mark < *end || *end == mark).then_some(name)
    }
}
