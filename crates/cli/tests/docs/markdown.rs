//! Reads the blocks of a page: specs, console sessions, and set-ups for the lab. The lab's tests use
//! this file too.

use std::fs;
use std::path::{Path, PathBuf};

/// A page of the documentation.
#[derive(Debug)]
pub(crate) struct Page {
    /// The path from the root of the workspace.
    pub(crate) path: PathBuf,
    pub(crate) blocks: Vec<Block>,
}

/// A block of a page.
#[derive(Debug)]
pub(crate) struct Block {
    /// What follows the fence: `yaml,fragment`; `lab` for a set-up.
    pub(crate) info: String,
    /// The number of its first line in the page.
    pub(crate) line: usize,
    pub(crate) text: String,
}

/// A command of a console block.
#[derive(Debug)]
pub(crate) struct Command {
    /// Whether it needs a live host: its prompt is `#`.
    pub(crate) is_privileged: bool,
    pub(crate) text: String,
    /// The number of its line in the page.
    pub(crate) line: usize,
    /// The output shown; empty if none is.
    pub(crate) output: Vec<String>,
}

/// README.md and all pages of `docs`, below the root of the workspace.
pub(crate) fn pages(root: &Path) -> Vec<Page> {
    let mut pages = vec![page(root, root.join("README.md"))];
    pages.extend(pages_in(root, "docs"));
    pages
}

/// The pages of a folder below the root of the workspace, by their names.
pub(crate) fn pages_in(root: &Path, folder: &str) -> Vec<Page> {
    let listed = fs::read_dir(root.join(folder)).expect("the pages");
    let names = listed.map(|entry| entry.expect("an entry").path());
    let mut paths: Vec<PathBuf> =
        names.filter(|path| path.extension().is_some_and(|it| it == "md")).collect();
    paths.sort();
    paths.into_iter().map(|path| page(root, path)).collect()
}

fn page(root: &Path, path: PathBuf) -> Page {
    let text = fs::read_to_string(&path).expect("a page");
    let path = path.strip_prefix(root).expect("it is below the root").to_owned();
    Page { path, blocks: blocks(&text) }
}

/// The fenced blocks, and the set-ups: comments that begin with `<!-- lab`.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let (info, end) = match (line.strip_prefix("```"), line) {
            (Some(info), _) => (info, "```"),
            (None, "<!-- lab") => ("lab", "-->"),
            (None, _) => continue,
        };
        let body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != end);
        let text = body.map(|line| format!("{line}\n")).collect();
        blocks.push(Block { info: info.to_owned(), line: number + 2, text });
    }
    blocks
}

impl Block {
    /// Whether that word is in the info string.
    pub(crate) fn is(&self, word: &str) -> bool {
        self.info.split(',').any(|it| it == word)
    }

    /// The file that a spec is shown as: its first line is a comment with a path.
    pub(crate) fn file(&self) -> Option<&str> {
        let path = self.text.lines().next()?.strip_prefix("# ")?;
        (self.is("yaml") && path.ends_with(".yaml") && !path.contains(' ')).then_some(path)
    }

    /// The commands of a console block, each with its output.
    pub(crate) fn commands(&self) -> Vec<Command> {
        let mut commands: Vec<Command> = Vec::new();
        if !self.is("console") {
            return commands;
        }
        for (place, line) in self.text.lines().enumerate() {
            let line_number = self.line + place;
            let (prompt, text) = line.split_at_checked(2).unwrap_or((line, ""));
            if prompt == "$ " || prompt == "# " {
                commands.push(Command {
                    is_privileged: prompt == "# ",
                    text: text.to_owned(),
                    line: line_number,
                    output: Vec::new(),
                });
            } else if let Some(last) = commands.last_mut() {
                last.output.push(line.to_owned());
            } else {
                panic!("line {line_number} is neither a command nor the output of one");
            }
        }
        commands
    }
}

impl Command {
    /// Whether the shown output is that of a command that does not end with 0: one that fails, or a
    /// `status` of another state than `ok`.
    pub(crate) fn shows_failure(&self) -> bool {
        if self.text == "evenkeel status" {
            return !self.output.first().is_some_and(|line| line.starts_with("ok ("));
        }
        self.output.iter().any(|line| line.starts_with("error: ") || line.starts_with("refused: "))
    }

    /// Whether the output is as shown. A line `...` stands for any number of lines. With `varies`,
    /// numbers, times and ids may differ.
    pub(crate) fn is_shown(&self, found: &str, varies: bool) -> bool {
        let form = |line: &str| if varies { without_numbers(line) } else { line.to_owned() };
        let expected: Vec<String> = self.output.iter().map(|line| form(line)).collect();
        let found: Vec<String> = found.lines().map(form).collect();
        expected.is_empty() || fits(&expected, &found)
    }
}

fn fits(expected: &[String], found: &[String]) -> bool {
    match expected.split_first() {
        None => found.is_empty(),
        Some((first, rest)) if first == "..." => {
            (0..=found.len()).any(|skipped| fits(rest, &found[skipped..]))
        }
        Some((first, rest)) => found.first() == Some(first) && fits(rest, &found[1..]),
    }
}

/// The line with a `0` for each number, each span (`1m30s`) and each id of hexadecimal digits, and single
/// blanks.
pub(crate) fn without_numbers(line: &str) -> String {
    let mut result = String::new();
    for word in line.split_inclusive(|it: char| !it.is_ascii_alphanumeric()) {
        let bare = word.trim_end_matches(|it: char| !it.is_ascii_alphanumeric());
        let is_id = bare.len() >= 8 && bare.chars().all(|it| it.is_ascii_hexdigit());
        let is_number = !bare.is_empty() && bare.chars().all(|it| it.is_ascii_digit());
        if is_id || is_number || is_span(bare) {
            result.push('0');
            result.push_str(&word[bare.len()..]);
        } else {
            result.push_str(word);
        }
    }
    result.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether the word is a span: numbers, each with a unit.
fn is_span(word: &str) -> bool {
    let mut rest = word;
    while let Some(units) = rest.strip_prefix(|it: char| it.is_ascii_digit()) {
        let units = units.trim_start_matches(|it: char| it.is_ascii_digit());
        let found = ["ms", "s", "m", "h", "d"].iter().find_map(|unit| units.strip_prefix(unit));
        let Some(after) = found else { return false };
        rest = after;
    }
    rest.is_empty() && !word.is_empty()
}
