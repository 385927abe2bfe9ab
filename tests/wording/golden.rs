//! Compares the texts of typed values with a golden file, `tests/wording/CRATE.txt`, so that wording is
//! reviewed as wording. The tests of several crates use this file.
//!
//! The file has a section for each type, and a headline for each variant with the texts of its samples.
//! [`section!`] fails to compile if a variant is missing, and the test fails if one has no sample.
//! `UPDATE=1` rewrites the file; read the difference before committing it.

use std::error::Error;
use std::fmt::Display;
use std::fs;
use std::path::PathBuf;

/// The texts of a crate.
pub(crate) struct Golden {
    path: PathBuf,
    text: String,
}

/// A sample of a variant.
pub(crate) struct Sample {
    pub(crate) variant: &'static str,
    pub(crate) text: String,
}

impl Golden {
    /// The golden file of that name in `tests/wording`.
    pub(crate) fn new(name: &str) -> Self {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/wording"));
        Self { path: folder.join(name), text: String::new() }
    }

    /// Adds a section; every variant has a sample, and no two samples have the same text.
    pub(crate) fn add(&mut self, title: &str, variants: &[&'static str], samples: &[Sample]) {
        self.text += &format!("## {title}\n\n");
        for variant in variants {
            let texts: Vec<&str> =
                samples.iter().filter(|it| it.variant == *variant).map(|it| &*it.text).collect();
            assert!(!texts.is_empty(), "{title}::{variant} has no sample");
            for (place, text) in texts.iter().enumerate() {
                assert!(!texts[..place].contains(text), "{title}::{variant} twice: {text}");
            }
            self.text += &format!("### {variant}\n\n{}\n\n", texts.join("\n"));
        }
    }

    /// Adds a section of texts whose type has no variants.
    #[allow(dead_code, reason = "some crates have only enums")]
    pub(crate) fn add_texts(&mut self, title: &str, texts: Vec<String>) {
        self.text += &format!("## {title}\n\n{}\n\n", texts.join("\n"));
    }

    /// Compares everything added with the file, or rewrites it.
    pub(crate) fn check(&self) {
        let Self { path, text } = self;
        let found = text.trim_end().to_owned() + "\n";
        if std::env::var_os("UPDATE").is_some() {
            fs::write(path, found).expect("it can be written");
            return;
        }
        let expected = fs::read_to_string(path).unwrap_or_default();
        let only_in = |text: &str, other: &str, sign: char| -> String {
            let lines = text.lines().filter(|line| !other.lines().any(|it| it == *line));
            lines.map(|line| format!("{sign} {line}\n")).collect()
        };
        assert!(
            expected == found,
            "{} is out of date; UPDATE=1 rewrites it\n{}{}",
            path.display(),
            only_in(&expected, &found, '-'),
            only_in(&found, &expected, '+'),
        );
    }
}

/// Values with their texts.
#[allow(dead_code, reason = "some crates have only errors")]
pub(crate) fn displayed<T: Display>(values: Vec<T>) -> Vec<(T, String)> {
    values
        .into_iter()
        .map(|value| (value.to_string(), value))
        .map(|(text, it)| (it, text))
        .collect()
}

/// Errors with their texts and those of their causes, as the program prints them.
#[allow(dead_code, reason = "some crates have no error with a cause")]
pub(crate) fn chained<T: Error>(errors: Vec<T>) -> Vec<(T, String)> {
    let text = |error: &T| {
        let mut text = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            text += &format!(": {error}");
            cause = error.source();
        }
        text
    };
    errors.into_iter().map(|error| (text(&error), error)).map(|(text, it)| (it, text)).collect()
}

/// Adds the samples of an enum, pairs of a value and its text: `section!(golden, Warning { A, B }, samples)`.
macro_rules! section {
    ($golden:expr, $type:ident { $($variant:ident),+ $(,)? }, $samples:expr) => {{
        let samples = $samples.into_iter().map(|(value, text)| $crate::wording::golden::Sample {
            variant: match value {
                $($type::$variant { .. } => stringify!($variant),)+
            },
            text,
        });
        let samples: Vec<_> = samples.collect();
        $golden.add(stringify!($type), &[$(stringify!($variant)),+], &samples);
    }};
}

pub(crate) use section;
