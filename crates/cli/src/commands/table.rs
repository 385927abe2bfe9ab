//! Aligns cells in columns.

/// How the cells of a column are aligned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Align {
    /// Text.
    Left,
    /// Numbers.
    Right,
}

/// Rows of a first cell and of further cells, one for each column.
pub(super) struct Table {
    aligned: Vec<Align>,
    rows: Vec<Row>,
}

struct Row {
    first: String,
    cells: Vec<String>,
}

impl Table {
    /// Creates a table with this heading; the first column is aligned to the left.
    pub(super) fn new(first: &str, headings: &[(&str, Align)]) -> Self {
        let mut table =
            Self { aligned: headings.iter().map(|(_, align)| *align).collect(), rows: Vec::new() };
        table.row(first, headings.iter().map(|(heading, _)| (*heading).to_owned()).collect());
        table
    }

    /// Adds a row. One without further cells may be longer than the first column.
    pub(super) fn row(&mut self, first: impl Into<String>, cells: Vec<String>) {
        self.rows.push(Row { first: first.into(), cells });
    }

    /// The lines, two spaces between columns and none at the ends.
    pub(super) fn text(&self) -> String {
        let mut first_width = 0;
        let mut widths = vec![0; self.aligned.len()];
        for Row { first, cells } in self.rows.iter().filter(|row| !row.cells.is_empty()) {
            first_width = first_width.max(first.chars().count());
            for (width, cell) in widths.iter_mut().zip(cells) {
                *width = (*width).max(cell.chars().count());
            }
        }
        let mut text = String::new();
        for Row { first, cells } in &self.rows {
            let mut line = format!("{first:first_width$}");
            for ((cell, &width), align) in cells.iter().zip(&widths).zip(&self.aligned) {
                line.push_str("  ");
                line.push_str(&match align {
                    Align::Left => format!("{cell:width$}"),
                    Align::Right => format!("{cell:>width$}"),
                });
            }
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_aligned_to_the_left_and_numbers_to_the_right() {
        let mut table = Table::new("NAME", &[("KIND", Align::Left), ("SIZE", Align::Right)]);
        table.row("a name longer than all others", Vec::new());
        table.row("a", vec!["b".to_owned(), "12345".to_owned()]);
        table.row("of four", vec![String::new(), "1".to_owned()]);
        let expected = "\
NAME     KIND   SIZE
a name longer than all others
a        b     12345
of four            1
";
        assert_eq!(table.text(), expected);
    }
}
