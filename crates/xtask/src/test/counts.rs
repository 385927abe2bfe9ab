//! The output of test programs on its way to the terminal.

use std::io::{self, Write};

/// Forwards whole lines, and adds up those with a result of a test program.
pub(super) struct OutcomeCounts<W> {
    to: W,
    /// What each line starts with; several guests print at once.
    prefix: String,
    line: Vec<u8>,
    pub(super) passed: u32,
    pub(super) failed: u32,
}

impl<W: Write> OutcomeCounts<W> {
    pub(super) fn new(to: W, prefix: String) -> Self {
        Self { to, prefix, line: Vec::new(), passed: 0, failed: 0 }
    }

    /// Forwards the line that the program left without its end, if any.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if self.line.is_empty() {
            return Ok(());
        }
        self.line.push(b'\n');
        self.end_of_line()
    }

    fn end_of_line(&mut self) -> io::Result<()> {
        self.count();
        // In one write: another guest's line cannot come between.
        let mut line = self.prefix.clone().into_bytes();
        line.append(&mut self.line);
        self.to.write_all(&line)
    }

    fn count(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let Some(result) = line.strip_prefix("test result: ") else { return };
        // "ok. 3 passed; 0 failed; 0 ignored; ..."
        let (_, counts) = result.split_once(". ").unwrap_or_default();
        for count in counts.split("; ") {
            match count.split_once(' ') {
                Some((number, "passed")) => self.passed += number.parse().unwrap_or(0),
                Some((number, "failed")) => self.failed += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

impl<W: Write> Write for OutcomeCounts<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        for &byte in bytes {
            self.line.push(byte);
            if byte == b'\n' {
                self.end_of_line()?;
            }
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_added_up_however_the_output_is_cut() {
        let text = "test a ... ok\n\ntest result: ok. 3 passed; 0 failed; 1 ignored; 0 measured\n\
                    test result: FAILED. 4 passed; 2 failed; 0 ignored\nnot a test result: ok. 9 passed\n";
        for size in [1, 7, 1000] {
            let mut counts = OutcomeCounts::new(Vec::new(), String::new());
            for part in text.as_bytes().chunks(size) {
                counts.write_all(part).expect("a write to memory");
            }
            assert_eq!((counts.passed, counts.failed), (7, 2));
            assert_eq!(counts.to, text.as_bytes());
        }
    }

    #[test]
    fn every_line_has_the_prefix_and_an_end() {
        let mut counts = OutcomeCounts::new(Vec::new(), "2| ".to_owned());
        counts.write_all(b"one\ntw").expect("a write to memory");
        counts.write_all(b"o\nkilled here").expect("a write to memory");
        counts.finish().expect("a write to memory");
        assert_eq!(counts.to, b"2| one\n2| two\n2| killed here\n");
    }
}
