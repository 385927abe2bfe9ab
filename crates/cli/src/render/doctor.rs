//! The documents of `doctor`.

use evenkeel_doctor::{Code, Finding, NotChecked};
use evenkeel_model::Names;
use evenkeel_plan::render::json_service;
use serde_json::{Map, Value, json};

use super::fields;

/// The findings on a host, how many were left out by `--ignore`, and what was not checked.
pub(crate) fn findings(
    findings: &[Finding],
    ignored: usize,
    not_checked: &[NotChecked],
    names: Names<'_>,
) -> Map<String, Value> {
    let findings = findings.iter().map(|finding| {
        let Finding { code, services, what, remedy } = finding;
        let services = services.iter().map(|key| json_service(key, names));
        json!({
            "code": code.name(),
            "title": code.title(),
            "services": services.collect::<Vec<_>>(),
            "message": what,
            "remedy": remedy,
        })
    });
    let not_checked = not_checked.iter().map(|NotChecked { codes, reason }| {
        let codes: Vec<&str> = codes.iter().map(|code| code.name()).collect();
        json!({ "codes": codes, "reason": reason })
    });
    fields([
        ("findings", findings.collect()),
        ("ignored", json!(ignored)),
        ("not_checked", not_checked.collect()),
    ])
}

/// The explanation of a code.
pub(crate) fn explained(code: Code) -> Map<String, Value> {
    fields([
        ("code", json!(code.name())),
        ("title", json!(code.title())),
        ("explanation", json!(code.explanation())),
    ])
}
