//! The path from the root of a source to a value.

/// A path kept on the stack, so that nothing is allocated until there is something to report.
#[derive(Debug, Clone, Copy)]
pub(crate) enum At<'a> {
    /// The root of a source.
    Root(usize),
    /// The value of a key.
    Key(&'a Self, &'static str),
    /// The value of a key chosen by the spec's author.
    NamedService(&'a Self, &'a str),
    /// An item of a list.
    Item(&'a Self, usize),
}

impl At<'_> {
    pub(crate) fn key(&self, key: &'static str) -> At<'_> {
        At::Key(self, key)
    }

    pub(crate) fn named<'a>(&'a self, key: &'a str) -> At<'a> {
        At::NamedService(self, key)
    }

    pub(crate) fn item(&self, index: usize) -> At<'_> {
        At::Item(self, index)
    }

    pub(crate) fn path(&self) -> Path {
        match self {
            Self::Root(source) => Path { source: *source, steps: Vec::new() },
            Self::Key(parent, key) => parent.path().then(Step::Key(key)),
            Self::NamedService(parent, key) => {
                parent.path().then(Step::NamedService((*key).into()))
            }
            Self::Item(parent, index) => parent.path().then(Step::Item(*index)),
        }
    }
}

impl From<&At<'_>> for Path {
    fn from(at: &At<'_>) -> Self {
        at.path()
    }
}

/// An owned path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Path {
    pub(crate) source: usize,
    pub(crate) steps: Vec<Step>,
}

/// One step of a [`Path`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(&'static str),
    NamedService(Box<str>),
    Item(usize),
}

impl Path {
    pub(crate) fn then(mut self, step: Step) -> Self {
        self.steps.push(step);
        self
    }
}
