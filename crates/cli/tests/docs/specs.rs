//! The specs of the pages are valid, but for those that are shown as wrong.

use std::fs;

use crate::markdown::{Block, pages};
use crate::{evenkeel, root};

/// The exit status for a wrong spec.
const BAD_SPEC: i32 = 65;

#[test]
fn every_spec_is_valid_or_marked_as_invalid() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("spec.yaml");
    let mut checked = 0;
    let mut wrong = String::new();
    for page in pages(&root()) {
        for block in page.blocks.iter().filter(|block| block.is("yaml")) {
            fs::write(&path, completed(block)).expect("it can be written");
            let output = evenkeel().arg("validate").arg(&path).output().expect("it starts");
            let expected = if block.is("invalid") { BAD_SPEC } else { 0 };
            let is_quiet = output.stderr.is_empty() || block.is("invalid");
            if output.status.code() != Some(expected) || !is_quiet {
                let errors = String::from_utf8_lossy(&output.stderr);
                wrong += &format!("{}:{}: {errors}\n", page.path.display(), block.line);
            }
            checked += 1;
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    assert!(checked >= 10, "only {checked} specs were found");
}

/// The block as a whole spec.
fn completed(block: &Block) -> String {
    let text = &block.text;
    if block.is("fragment") {
        return format!("version: 1\n{text}");
    }
    if !block.is("service") {
        return text.clone();
    }
    let has = |keys: &[&str]| {
        let is_key = |line: &str| keys.iter().any(|key| line.starts_with(&format!("{key}:")));
        text.lines().any(is_key)
    };
    let mut service = String::from("version: 1\nservices:\n  - name: completed\n");
    let mut add = |line: &str| service += &format!("    {line}\n");
    if !has(&["vip", "vips", "fwmark"]) {
        add("vip: 192.0.2.1");
    }
    if !has(&["port", "ports", "fwmark"]) {
        add("port: 80");
    }
    if !has(&["real_servers", "pool"]) {
        add("real_servers: [ { address: 10.0.0.1 } ]");
    }
    text.lines().for_each(add);
    service
}
