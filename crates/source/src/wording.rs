//! Tests the texts of errors against `tests/wording/source.txt`.

use std::io;

use crate::{SourceError, SpecError};

#[path = "../../../tests/wording/golden.rs"]
mod golden;

use golden::{Golden, chained, section};

#[test]
fn every_text_is_as_reviewed() {
    let mut golden = Golden::new("source.txt");
    let unreadable = |path: &str, number| SourceError::Unreadable {
        path: path.into(),
        source: io::Error::from_raw_os_error(number),
    };
    let errors = vec![
        unreadable("web.yaml", 2),
        unreadable("/etc/evenkeel", 13),
        unreadable("-", 5),
        SourceError::NotRegular { path: "/dev/null".into() },
        SourceError::NoSpecInDirectory { path: "/etc/evenkeel".into() },
    ];
    section!(golden, SourceError { Unreadable, NotRegular, NoSpecInDirectory }, chained(errors));
    golden.add_texts("SpecError", vec![SpecError::from(unreadable("web.yaml", 2)).to_string()]);
    golden.check();
}
