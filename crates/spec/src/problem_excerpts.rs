//! Renders problems with an excerpt of the text they concern.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use evenkeel_model::{printable, printable_name};

use crate::problem::{Position, Problem, Problems, Severity};
use crate::source::{Lines, Source};

/// How much of a line is shown around the position, in bytes to each side.
const CONTEXT: usize = 120;

impl Problems {
    /// Renders each problem with an excerpt of `sources`, which must be those that were loaded, in
    /// colour on request.
    pub fn render(&self, sources: &[Source], color: bool) -> String {
        let texts: Vec<String> = sources
            .iter()
            .map(|source| String::from_utf8_lossy(&source.text).into_owned())
            .collect();
        let lines: Vec<Lines<'_>> = texts
            .iter()
            .map(|text| Lines::new(text.strip_prefix('\u{feff}').unwrap_or(text)))
            .collect();
        let renderer = if color { Renderer::styled() } else { Renderer::plain() };
        let mut rendered = String::new();
        for problem in self {
            if !rendered.is_empty() {
                rendered.push_str("\n\n");
            }
            rendered.push_str(&excerpt(&renderer, problem, &lines));
        }
        if self.left_out() > 0 {
            rendered.push_str(&format!("\n\nand {} more", self.left_out()));
        }
        rendered
    }
}

/// Renders one problem. The renderer gets only a window of a long line and counts columns from the
/// window's start. So the complete position is passed as part of the name, and the position that
/// the renderer appends is removed again.
fn excerpt(renderer: &Renderer, problem: &Problem, lines: &[Lines<'_>]) -> String {
    let mut windows = Vec::new();
    let mut text = renderer.render(&report(problem, lines, &mut windows));
    for (place, column) in windows {
        let place = format!(":{}:{}", place.line, place.column);
        let doubled = format!("{place}:{column}");
        text = text.replacen(&doubled, &place, 1);
    }
    text
}

/// `windows` receives the positions of which a window is shown, with what the renderer appends to
/// each.
fn report<'a>(
    problem: &'a Problem,
    lines: &[Lines<'_>],
    windows: &mut Vec<(&'a Position, String)>,
) -> Vec<Group<'a>> {
    let Problem { severity, place, context, message, remedy, related } = problem;
    let level = match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let title = match context {
        Some(context) => format!("{context}: {message}"),
        None => message.clone(),
    };
    let mut group = Group::with_title(level.primary_title(shown(&title)));
    if let Some(place) = place {
        group = group.element(snippet(place, None, lines, windows));
    }
    for related in related {
        group = group.element(snippet(&related.place, Some(shown(&related.label)), lines, windows));
    }
    if let Some(remedy) = remedy {
        group = group.element(Level::HELP.message(shown(remedy)));
    }
    vec![group]
}

/// The line of a position, cut to a window around it.
fn snippet<'a>(
    place: &'a Position,
    label: Option<String>,
    lines: &[Lines<'_>],
    windows: &mut Vec<(&'a Position, String)>,
) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
    let (start, line) = lines.get(place.source).map_or((0, ""), |lines| lines.line(place.line));
    let from = place.span.start.saturating_sub(start).min(line.len());
    let to = place.span.end.saturating_sub(start).clamp(from, line.len());
    let (mut left, mut right) =
        (from.saturating_sub(CONTEXT), from.saturating_add(CONTEXT).min(line.len()));
    while !line.is_char_boundary(left) {
        left -= 1;
    }
    while !line.is_char_boundary(right) {
        right += 1;
    }
    let to = to.min(right);
    let mut window = shown(&line[left..from]);
    let begin = window.len();
    window += &shown(&line[from..to]);
    let span = begin..window.len();
    window += &shown(&line[to..right]);
    let kind = if label.is_none() { AnnotationKind::Primary } else { AnnotationKind::Context };
    // What is escaped takes more columns than in the file.
    let is_as_written = window[..begin].len() == from - left;
    let place_in_file = if left == 0 && is_as_written {
        printable_name(&place.name).into_owned()
    } else {
        let column = 1 + window[..begin].chars().count();
        windows.push((place, format!("{}:{column}", place.line)));
        place.to_string()
    };
    Snippet::source(window)
        .path(place_in_file)
        .line_start(place.line)
        .annotation(kind.span(span).label(label))
}

/// Escapes the characters that a terminal would interpret.
fn shown(text: &str) -> String {
    printable(text).into_owned()
}
