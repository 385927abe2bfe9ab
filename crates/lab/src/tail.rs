//! Follows a file that another process appends to.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

/// A position in a growing file. The file need not exist yet.
#[derive(Debug)]
pub(crate) struct FileTail {
    path: PathBuf,
    file: Option<File>,
}

impl FileTail {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), file: None }
    }

    /// Forwards what was appended since the last call.
    pub(crate) fn pass_on(&mut self, to: &mut dyn Write) -> io::Result<()> {
        if self.file.is_none() {
            match File::open(&self.path) {
                Ok(file) => self.file = Some(file),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut buffer = [0; 16 * 1024];
        let mut any = false;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                length => to.write_all(&buffer[..length])?,
            }
            any = true;
        }
        if any { to.flush() } else { Ok(()) }
    }
}

/// The last `lines` lines of a console, without a panicking kernel's call trace, which would displace
/// the lines before it. Empty if it cannot be read.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let Ok(bytes) = std::fs::read(path) else { return String::new() };
    let text = String::from_utf8_lossy(&bytes);
    let is_call = |line: &&str| line.trim_start().starts_with("[<");
    let all: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !is_call(line)).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_comes_once_and_in_order() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("out");
        let mut follow = FileTail::new(&path);
        let mut seen = Vec::new();
        follow.pass_on(&mut seen).expect("a missing file is an empty one");
        let mut file = File::create(&path).expect("a file");
        for part in ["one ", "", "two ", "three"] {
            file.write_all(part.as_bytes()).expect("a write");
            follow.pass_on(&mut seen).expect("a read");
        }
        assert_eq!(seen, b"one two three");
    }

    #[test]
    fn a_tail_holds_no_more_than_the_last_lines() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("console");
        std::fs::write(&path, "a\r\nb\n [<606944ba>] ? _printk+0x0/0x94\nc\n").expect("a write");
        assert_eq!(tail(&path, 2), "b\nc");
        assert_eq!(tail(&path, 9), "a\nb\nc");
        assert_eq!(tail(&folder.path().join("none"), 9), "");
    }
}
